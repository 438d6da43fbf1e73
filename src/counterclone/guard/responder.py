"""One request: admitted, answered by the app, and its answer released.

Release fails closed: an answer that can't be cleaned isn't served. Journal and metrics fail open.
"""

from __future__ import annotations

import logging
import re
import time
from functools import partial

import orjson

from counterclone.answers import Answer
from counterclone.errors import (
    AnswerError,
    LimitExceeded,
    RequestError,
    TooLarge,
    Unauthenticated,
    UnknownFormat,
)
from counterclone.guard import asgi
from counterclone.guard.admission import Admission
from counterclone.guard.options import Options
from counterclone.guard.recording import Later, Reading, Record
from counterclone.guard.release import UNGUARDED
from counterclone.protocols import Dialect
from counterclone.queries import Query
from counterclone.randomness import new_request_id

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_REPLACED = frozenset({b"content-length", b"accept-encoding", b"transfer-encoding", b"x-request-id"})
_BYPASSES = frozenset({"http.response.pathsend", "http.response.zerocopysend"})
"""ASGI extensions by which an app could answer past us."""
_NOTHING = Reading(None, 0.0)


class Responder:
    """One request on its way in, and its answer on its way out.

    What most requests never change is a class attribute: it costs nothing to begin with.
    """

    _decision = "served"
    _status = 500
    _start: asgi.Message | None = None
    _is_done = False
    _is_json = False
    _is_replayed = False
    _body = b""
    _bits = 0.0
    _overhead = 0.0
    _upstream: float | None = None

    def __init__(self, app: asgi.App, options: Options, scope: asgi.Scope, receive: asgi.Receive,
                 send: asgi.Send) -> None:
        self._app = app
        self._options = options
        self._scope = scope
        self._receive = receive
        self._send = send
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        self._request_id = given if given and _REQUEST_ID.fullmatch(given) else new_request_id()
        self._admission = Admission(options, scope, headers)
        self._chunks: list[bytes] = []
        self._ticked = time.perf_counter()

    async def respond(self) -> None:
        """Admit the request, let the app answer, release the answer."""
        metrics = self._options.metrics
        metrics.in_flight += 1
        try:
            if await self._admits():
                await self._forward()
        finally:
            metrics.in_flight -= 1
            query = self._admission.query
            metrics.note(self._admission.route.kind, self._decision, self._status,
                         query.n_rows if query else 0, self._bits, self._overhead, self._upstream)

    # On the way in.

    async def _admits(self) -> bool:
        """Whether the request goes on to the app."""
        try:
            self._admission.identify()
        except RequestError as error:
            if await self._stops(error):
                return False
        self._overhead = time.perf_counter() - self._ticked
        try:
            body = await self._read_body()
        except RequestError as error:
            await self._refuse(error)  # in shadow mode too: half a body can't be passed on
            return False
        if body is None:
            self._decision = "disconnected"
            return False
        self._ticked = time.perf_counter()
        self._body = body
        try:
            self._body = self._admission.admit(body)
        except RequestError as error:
            return not await self._stops(error)
        return True

    async def _read_body(self) -> bytes | None:
        """The whole body; None where the client went away."""
        limit = self._options.limit_body_bytes
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"the body is over {limit} bytes; send fewer rows at a time")
            if not message.get("more_body", False):
                return b"".join([*chunks, chunk]) if chunks else chunk
            chunks.append(chunk)

    async def _stops(self, error: RequestError) -> bool:
        """Whether a request that isn't admitted stops here; it doesn't in shadow mode."""
        options = self._options
        if isinstance(error, UnknownFormat) and not (options.enforce and options.blocks_unknown):
            self._decision = "unscanned"
            return False
        self._decision = error.decision
        if options.enforce:
            await self._refuse(error)
        return options.enforce

    async def _refuse(self, error: RequestError) -> None:
        self._decision = error.decision
        headers: asgi.Headers = []
        if isinstance(error, LimitExceeded):
            headers = _limit_headers(error)
        elif isinstance(error, Unauthenticated):
            headers = [(b"www-authenticate", b"Bearer")]
        await self._send_error(error.status, error.code, str(error), headers)

    # The app in between.

    async def _forward(self) -> None:
        scope = dict(self._scope)
        scope["headers"] = [
            *asgi.without(scope["headers"], _REPLACED), (b"accept-encoding", b"identity"),
            (b"content-length", b"%d" % len(self._body)), (b"x-request-id", self._request_id)]
        if scope.get("extensions"):
            scope["extensions"] = {name: value for name, value in scope["extensions"].items()
                                   if name not in _BYPASSES}
        now = time.perf_counter()
        self._overhead += now - self._ticked
        self._ticked = now
        try:
            await self._app(scope, self._replay, self._on_message)
        finally:
            if not self._is_done:  # the app raised, or ended in the middle of its answer
                self._decision = "failed"
                self._end(_NOTHING, is_used=False)

    async def _replay(self) -> asgi.Message:
        if self._is_replayed:
            return await self._receive()
        self._is_replayed = True
        return {"type": "http.request", "body": self._body, "more_body": False}

    # On the way out.

    async def _on_message(self, message: asgi.Message) -> None:
        kind = message["type"]
        if self._is_done:
            await self._send(message)
        elif kind == "http.response.start":
            await self._on_start(message)
        elif kind == "http.response.body" and self._start is not None:
            self._chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._finish(self._start)
        else:
            await self._send(message)

    async def _on_start(self, start: asgi.Message) -> None:
        """Hold back what has to be read; let errors of the app and answers to unread queries through."""
        self._start = start
        self._status = start["status"]
        is_success = 200 <= self._status < 300
        if self._admission.query is not None and is_success and self._status != 204:
            self._is_json = asgi.is_plain_json(start["headers"])
            if self._is_json or self._must_clean():
                return
        if self._decision == "served":
            self._decision = "unscanned" if is_success else "failed"
        self._end(_NOTHING, is_used=is_success)
        await self._send({**start, "headers": self._headers(start)})

    def _must_clean(self) -> bool:
        """Whether an answer that can't be scanned must not pass."""
        return self._options.blocks_unknown and bool(self._admission.terms.policies)

    async def _finish(self, start: asgi.Message) -> None:
        now = time.perf_counter()
        self._upstream = now - self._ticked
        self._ticked = now
        body = released = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        try:
            released = self._release(body)
        except AnswerError as error:
            self._decision = "failed"
            logger.error("answer not cleaned (request %s): %s", self._request_id.decode(), error)
            if self._options.enforce and self._options.blocks_uncleaned:
                await self._send_error(502, "answer_not_cleaned", str(error), [])
                return
            self._end(_NOTHING, is_used=True)
        headers = self._headers(start)
        if released is not body:
            headers = asgi.without(headers, asgi.STALE_AFTER_EDIT)
            headers.append((b"content-length", b"%d" % len(released)))
        self._overhead += time.perf_counter() - self._ticked
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": released, "more_body": False})

    def _release(self, body: bytes) -> bytes:
        """The answer as it leaves, metered and journalled.

        Raises:
            AnswerError: it can't be cleaned.
        """
        options, admission = self._options, self._admission
        terms, query, dialect = admission.terms, admission.query, admission.route.dialect
        assert query is not None  # `_on_start` held the answer back
        assert dialect is not None  # since a query was read
        if options.journal is not None and not terms.policies and not terms.meters_bits:
            self._end(Later(partial(_read_later, options, dialect, query, body)), is_used=True)
            return body
        answer = self._read(body)
        if answer is None:
            self._decision = "unscanned"
            self._end(_NOTHING, is_used=True)
            return body
        released, worth = body, UNGUARDED
        if terms.policies and answer.outputs and options.enforce:
            released = dialect.write_answer(answer, terms.release(answer, query, options.noise(query.model)))
            worth = terms
        bits = worth.answer_bits(answer)
        terms.expect(query.model, bits)
        self._end(Reading(answer.rows, bits), is_used=True)
        return released

    def _read(self, body: bytes) -> Answer | None:
        """The answer; None where it can't be scanned and may pass all the same.

        Raises:
            AnswerError: it can't be scanned, and policies would have to clean it.
        """
        query, dialect = self._admission.query, self._admission.route.dialect
        assert query is not None  # as in `_release`
        assert dialect is not None
        try:
            if not self._is_json:
                raise AnswerError("the answer is no plain JSON (see its content-type and content-encoding); "
                                  "expected that of the request's format")
            answer = dialect.read_answer(body, query.n_rows, self._options.scores)
            if not answer.is_scanned:
                raise AnswerError("the answer has floating-point numbers, none of them rows of probabilities; "
                                  "the owner can name the output to guard in [target] scores, or let such "
                                  'answers pass with [guard] unknown = "pass"')
        except AnswerError:
            if self._must_clean():
                raise
            return None
        return answer

    def _end(self, reading: Reading | Later, *, is_used: bool) -> None:
        """Settle the limits and journal the exchange."""
        self._is_done = True
        admission, query = self._admission, self._admission.query
        if isinstance(reading, Reading):
            self._bits = reading.bits * query.n_rows if query else 0.0
        admission.settle(self._bits, is_used=is_used)
        journal = self._options.journal
        if journal is not None:
            account, size = admission.account, len(self._body) + sum(map(len, self._chunks))
            journal.append(Record(self._options.clock(), account.id, account.account_class, admission.route.kind,
                                  self._decision, self._status, size, query, reading))

    def _headers(self, start: asgi.Message) -> asgi.Headers:
        headers = list(start["headers"])
        if not any(name.lower() == b"x-request-id" for name, _ in headers):
            headers.append((b"x-request-id", self._request_id))
        return headers

    async def _send_error(self, status: int, code: str, message: str, headers: asgi.Headers) -> None:
        self._status = status
        self._end(_NOTHING, is_used=False)
        dialect = self._admission.route.dialect
        body = (dialect.error(status, code, message) if dialect
                else orjson.dumps({"error": message, "code": code}))
        await self._send({"type": "http.response.start", "status": status, "headers": [
            (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)),
            (b"x-request-id", self._request_id), *headers]})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


def _read_later(options: Options, dialect: Dialect, query: Query, body: bytes) -> Reading:
    """What the journal keeps of an answer that nothing had to be done to."""
    try:
        answer = dialect.read_answer(body, query.n_rows, options.scores)
    except AnswerError:
        return _NOTHING
    bits = UNGUARDED.answer_bits(answer)
    options.metrics.note_bits(bits * query.n_rows)
    return Reading(answer.rows, bits)


def _limit_headers(error: LimitExceeded) -> asgi.Headers:
    """`Retry-After` (RFC 9110) and the fields of the IETF draft on rate limit headers."""
    window = round(error.period_seconds)
    headers = [(b"ratelimit-policy", b'"%s";q=%d;w=%d' % (error.limit.encode(), error.quota, window))]
    if error.retry_after_seconds is None:
        return headers
    wait = b"%d" % max(1, -int(-error.retry_after_seconds // 1))
    return [*headers, (b"retry-after", wait), (b"ratelimit", b'"%s";r=0;t=%s' % (error.limit.encode(), wait))]

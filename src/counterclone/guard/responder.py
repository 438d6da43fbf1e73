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
    Busy,
    LimitExceeded,
    RequestError,
    TargetError,
    TooLarge,
    Unauthenticated,
    UnknownFormat,
)
from counterclone.guard import asgi
from counterclone.guard.admission import Admission
from counterclone.guard.options import Options
from counterclone.guard.recording import Later, Reading, Record
from counterclone.guard.release import UNGUARDED
from counterclone.protocols import Body, Dialect
from counterclone.queries import Query
from counterclone.randomness import new_request_id

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST = 499
"""What nginx calls the status of a request whose client went away; nobody gets it."""
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_REPLACED = frozenset({b"content-length", b"accept-encoding", b"transfer-encoding", b"x-request-id"})
_BYPASSES = frozenset({"http.response.pathsend", "http.response.zerocopysend"})
"""ASGI extensions by which an app could answer past us."""
_NOTHING = Reading(None, 0.0)
_OTHER_FORMAT = ("the answer isn't in the request's format, or it is compressed (see its content-type and "
                 "content-encoding); expected a plain one")
_NO_PROBABILITIES = (
    "the answer has floating-point numbers, none of them rows of probabilities; the owner can name the output to "
    'guard in [target] scores, or let such answers pass with [guard] unknown = "pass"')
_BROKEN = "the answer can't be cleaned; the API's owner finds the reason in the server's log"


class Responder:
    """One request on its way in, and its answer on its way out.

    What most requests never change is a class attribute: it costs nothing to begin with.
    """

    _decision = "served"
    _status = 500
    _start: asgi.Message | None = None
    _answer: Answer | None = None
    _is_done = False
    _is_refused = False
    _is_passing = False
    _is_replayed = False
    _is_gone = False
    _body = Body(b"")
    _held_bytes = 0
    _n_rows = 0
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
            metrics.note(self._admission.route.kind, self._decision, self._status, self._n_rows, self._bits,
                         self._overhead, self._upstream)

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
            if self._options.metrics.in_flight > self._options.limit_in_flight:
                raise Busy(f"{self._options.limit_in_flight} requests are under way, no more are taken; try again")
            body = await self._read_body()
        except RequestError as error:
            self._ticked = time.perf_counter()
            await self._refuse(error)  # in shadow mode too: it is the guard itself that has no room
            return False
        if body is None:
            self._decision, self._status = "disconnected", CLIENT_CLOSED_REQUEST
            return False
        self._ticked = time.perf_counter()
        self._body = Body(body)
        try:
            self._body = self._admission.admit(body)
        except RequestError as error:
            return not await self._stops(error)
        return True

    async def _read_body(self) -> bytes | None:
        """The whole body; None where the client went away."""
        limit = self._options.limit_body_bytes
        read = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            chunk: bytes = message.get("body", b"")
            if len(read) + len(chunk) > limit:
                raise TooLarge(f"the body is over {limit} bytes; send fewer rows at a time")
            is_last = not message.get("more_body", False)
            if is_last and not read:
                return chunk
            read += chunk  # a list of chunks would take many times the bytes of a body that drips in
            if is_last:
                return bytes(read)

    async def _stops(self, error: RequestError) -> bool:
        """Whether a request that isn't admitted stops here; it doesn't in shadow mode."""
        options = self._options
        if isinstance(error, UnknownFormat) and not options.blocks_unknown:
            self._decision = "unscanned"
            try:
                self._admission.admit_unread()
            except LimitExceeded as limit:
                error = limit
            else:
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
        elif isinstance(error, Busy):
            headers = [(b"retry-after", b"1")]
        await self._send_error(error.status, error.code, str(error), headers)

    # The app in between.

    async def _forward(self) -> None:
        scope = dict(self._scope)
        body = self._body
        replaced = _REPLACED | body.headers.keys() if body.headers else _REPLACED
        scope["headers"] = [
            *[header for header in scope["headers"] if header[0] not in replaced],
            *[header for header in body.headers.items() if header[1]],
            (b"accept-encoding", b"identity"), (b"content-length", b"%d" % len(body.content)),
            (b"x-request-id", self._request_id)]
        if scope.get("extensions"):
            scope["extensions"] = {name: value for name, value in scope["extensions"].items()
                                   if name not in _BYPASSES}
        query = self._admission.query
        self._n_rows = query.n_rows if query else 0
        now = time.perf_counter()
        self._overhead += now - self._ticked
        self._ticked = now
        try:
            await self._app(scope, self._replay, self._on_message)
        except TargetError as error:
            if self._is_done or self._is_passing:
                raise
            await self._refuse(error)
        except Exception:
            if not self._is_refused:
                raise
            logger.debug("the app ended when its answer was refused", exc_info=True)
        finally:
            if not self._is_done:
                self._end_broken()

    def _end_broken(self) -> None:
        """Settle where the app raised, or ended before its answer did."""
        self._decide("disconnected" if self._is_gone else "failed")
        if not self._is_passing:
            self._status = CLIENT_CLOSED_REQUEST if self._is_gone else 500
            self._end(_NOTHING, is_used=False)
            return
        admission = self._admission
        assert admission.query is not None  # `_on_start` saw it
        self._end(_NOTHING, is_used=True, charged_bits=admission.terms.expected_bits(admission.query.model))

    async def _replay(self) -> asgi.Message:
        if self._is_replayed:
            message = await self._receive()
            self._is_gone |= message["type"] == "http.disconnect"
            return message
        self._is_replayed = True
        return {"type": "http.request", "body": self._body.content, "more_body": False}

    # On the way out.

    async def _on_message(self, message: asgi.Message) -> None:
        kind, start = message["type"], self._start
        if self._is_refused:  # ASGI's way to end an app that goes on, maybe for ever
            raise ConnectionAbortedError("the answer was refused, nobody gets the rest")
        if self._is_done:
            await self._send(message)
        elif kind == "http.response.start":
            await self._on_start(message)
        elif kind == "http.response.body" and start is not None:
            chunk = message.get("body", b"")
            self._chunks.append(chunk)
            self._held_bytes += len(chunk)
            is_last = not message.get("more_body", False)
            if self._held_bytes > self._options.limit_answer_bytes:
                await self._on_long(start, message)
            elif self._is_passing:
                if is_last:
                    self._end_passed()
                await self._send(message)
            elif is_last:
                await self._finish(start)
        else:
            await self._send(message)

    async def _on_start(self, start: asgi.Message) -> None:
        """Hold back what has to be cleaned; let the rest go on as it comes."""
        self._start = start = {**start, "headers": list(start.get("headers", ()))}
        self._status = start["status"]
        is_success = 200 <= self._status < 300
        if self._admission.query is None or not is_success or self._status == 204:
            self._decide("unscanned" if is_success else "failed")
            self._end(_NOTHING, is_used=is_success)
        elif self._can_read(start["headers"]):
            if self._admission.terms.policies and self._options.enforce:
                return
            self._is_passing = True
        elif not self._must_clean():
            self._decide("unscanned")
            self._end(_NOTHING, is_used=True)
        else:
            self._note_upstream()
            if await self._blocks(AnswerError(_OTHER_FORMAT)):
                return
            self._end(_NOTHING, is_used=True)
        start["headers"] = self._headers(start)
        await self._send(start)

    def _can_read(self, headers: asgi.Headers) -> bool:
        """Whether the answer is in the request's format."""
        self._answer_headers = {name.lower(): value for name, value in headers}
        dialect = self._admission.route.dialect
        return dialect is not None and dialect.can_read(self._answer_headers)

    async def _on_long(self, start: asgi.Message, message: asgi.Message) -> None:
        """What is too long to hold is blocked; or it goes on, and nobody reads it."""
        if not self._is_passing:
            self._note_upstream()
            limit = self._options.limit_answer_bytes
            if await self._blocks(AnswerError(f"the answer is over {limit} bytes; ask for fewer rows at a time")):
                return
            start["headers"] = self._headers(start)
            await self._send(start)
            message = {**message, "body": b"".join(self._chunks)}
        self._decide("unscanned")
        self._end(_NOTHING, is_used=True)
        self._chunks.clear()
        await self._send(message)

    def _must_clean(self) -> bool:
        """Whether an answer that can't be scanned must not pass."""
        return self._options.blocks_unknown and bool(self._admission.terms.policies)

    async def _finish(self, start: asgi.Message) -> None:
        """Clean an answer that was held back, and send it."""
        self._note_upstream()
        body = released = Body(b"".join(self._chunks), self._answer_headers)
        try:
            released, reading = self._release(body)
        except Exception as error:  # whatever a plug-in raises, the answer isn't clean
            if await self._blocks(error):
                return
            reading = self._unguarded()
        self._end(reading, is_used=True)
        if released is body:
            headers = self._headers(start)
        else:
            headers = self._headers(start, asgi.STALE_AFTER_EDIT | released.headers.keys())
            headers += released.headers.items()
            headers.append((b"content-length", b"%d" % len(released.content)))
        self._overhead += time.perf_counter() - self._ticked
        start["headers"] = headers
        await self._send(start)
        await self._send({"type": "http.response.body", "body": released.content, "more_body": False})

    def _end_passed(self) -> None:
        """Settle an answer that went on as it came; the journal reads it where nobody has to know it before."""
        self._note_upstream()
        options, admission = self._options, self._admission
        terms, query, dialect = admission.terms, admission.query, admission.route.dialect
        body = Body(b"".join(self._chunks), self._answer_headers)
        if options.journal is not None and not terms.policies and not terms.meters_bits:
            assert query is not None  # `_on_start` saw it
            assert dialect is not None  # since a query was read
            self._end(Later(partial(_read_later, options, dialect, query, body)), is_used=True)
        else:
            would_be = _NOTHING  # in shadow mode, where limits count what the policies would have let through
            try:
                _, would_be = self._release(body)
            except Exception as error:
                self._note_uncleaned(error)
            self._end(self._unguarded(), is_used=True, charged_bits=would_be.bits)
        self._overhead += time.perf_counter() - self._ticked

    def _note_upstream(self) -> None:
        now = time.perf_counter()
        self._upstream = now - self._ticked
        self._ticked = now

    def _release(self, body: Body) -> tuple[Body, Reading]:
        """The answer as it leaves, and what was read of it.

        Raises:
            AnswerError: it can't be cleaned.
        """
        answer = self._answer = self._read(body)
        if answer is None:
            self._decide("unscanned")
            return body, _NOTHING
        admission = self._admission
        terms, query, dialect = admission.terms, admission.query, admission.route.dialect
        assert query is not None  # as in `_end_passed`
        assert dialect is not None
        released = None
        if terms.policies and answer.outputs:
            released = terms.release(answer, query, self._options.noise(query.model))
            body = dialect.write_answer(answer, released)
        bits = terms.answer_bits(answer)
        terms.expect(query.model, bits)
        return body, Reading(answer.rows, bits, released)

    def _read(self, body: Body) -> Answer | None:
        """The answer; None where it can't be scanned and may pass all the same.

        Raises:
            AnswerError: it can't be scanned, and policies would have to clean it.
        """
        query, dialect = self._admission.query, self._admission.route.dialect
        assert query is not None  # as in `_end_passed`
        assert dialect is not None
        try:
            answer = dialect.read_answer(body, query.n_rows, self._options.scores)
            if not answer.is_scanned:
                raise AnswerError(_NO_PROBABILITIES)
        except AnswerError:
            if self._must_clean():
                raise
            return None
        return answer

    def _unguarded(self) -> Reading:
        """What an answer tells that leaves as it is."""
        answer = self._answer
        return _NOTHING if answer is None else Reading(answer.rows, UNGUARDED.answer_bits(answer))

    async def _blocks(self, error: Exception) -> bool:
        """Whether an answer that can't be cleaned is a 502; it passes in shadow mode, or if the owner says so."""
        self._note_uncleaned(error)
        if not (self._options.enforce and self._options.blocks_uncleaned):
            return False
        # What a policy said may hold what it was given.
        is_told = isinstance(error, AnswerError) and error.__cause__ is None
        await self._send_error(502, "answer_not_cleaned", str(error) if is_told else _BROKEN, [])
        return True

    def _note_uncleaned(self, error: Exception) -> None:
        self._decide("failed")
        logger.error("answer not cleaned (request %s): %s", self._request_id.decode(), error,
                     exc_info=None if isinstance(error, AnswerError) else error)

    def _decide(self, decision: str) -> None:
        """The first decision stays: in shadow mode, the request wouldn't have come so far."""
        if self._decision == "served":
            self._decision = decision

    def _end(self, reading: Reading | Later, *, is_used: bool, charged_bits: float | None = None) -> None:
        """Settle the limits and journal the exchange.

        Args:
            reading: what was read of the answer.
            is_used: whether the query was answered.
            charged_bits: what limits count for each query, the reading's bits where left out.
        """
        self._is_done = True
        admission, query = self._admission, self._admission.query
        n_rows = query.n_rows if query else 0
        if isinstance(reading, Reading):
            self._bits = reading.bits * n_rows
        admission.settle(self._bits if charged_bits is None else charged_bits * n_rows, is_used=is_used)
        journal = self._options.journal
        if journal is not None:
            account = admission.account
            size = len(self._body.content) + self._held_bytes if query else 0
            journal.append(Record(self._options.clock(), account.id, account.account_class, admission.route.kind,
                                  self._decision, self._status, size, query, reading))

    def _headers(self, start: asgi.Message, stale: frozenset[bytes] = frozenset()) -> asgi.Headers:
        """The answer's headers but the stale ones, with the request's identifier."""
        headers: asgi.Headers = start["headers"]
        names = [name.lower() for name, _ in headers]
        if stale:
            headers = [header for header, name in zip(headers, names, strict=True) if name not in stale]
        if b"x-request-id" not in names:
            headers.append((b"x-request-id", self._request_id))
        return headers

    async def _send_error(self, status: int, code: str, message: str, headers: asgi.Headers) -> None:
        self._status = status
        self._is_refused = True
        self._overhead += time.perf_counter() - self._ticked
        self._end(_NOTHING, is_used=False)
        dialect = self._admission.route.dialect
        body = (dialect.error(status, code, message) if dialect
                else orjson.dumps({"error": message, "code": code}))
        await self._send({"type": "http.response.start", "status": status, "headers": [
            (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)),
            (b"x-request-id", self._request_id), *headers]})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


def _read_later(options: Options, dialect: Dialect, query: Query, body: Body) -> Reading:
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

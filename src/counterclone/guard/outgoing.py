"""One answer's way out, and what limits, journal and metrics keep of its request.

Release fails closed: an answer that can't be cleaned isn't served. Journal and metrics fail open.
"""

from __future__ import annotations

import logging
import re
from functools import partial
from time import perf_counter

import orjson

from counterclone.answers import Answer, Rows
from counterclone.budgets import BYTES_PER_TOKEN
from counterclone.errors import AnswerError, RequestError
from counterclone.guard import asgi, counting, events
from counterclone.guard.admission import Admission
from counterclone.guard.marking import Marking
from counterclone.guard.metrics import Note
from counterclone.guard.options import Options
from counterclone.guard.recording import Later, Reading, Record
from counterclone.guard.refusals import headers_of
from counterclone.guard.release import UNGUARDED
from counterclone.guard.streaming import Stream
from counterclone.protocols import Body, Dialect
from counterclone.randomness import new_request_id
from counterclone.speech import BITS_PER_BYTE, Speech

logger = logging.getLogger(__name__)

ANSWERED = ("served", "flagged")
"""Decisions that stand only if nothing goes wrong."""
CLIENT_CLOSED_REQUEST = 499
"""What nginx calls the status of a request whose client went away; nobody gets it."""
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_NOTHING = Reading(None, 0.0)
_OTHER_FORMAT = ("the answer isn't in the request's format, or it is compressed (see its content-type and "
                 "content-encoding); expected a plain one")
_NO_PROBABILITIES = (
    "the answer has floating-point numbers, none of them rows of probabilities; the owner can name the output to "
    'guard in [target] scores, or let such answers pass with [guard] unknown = "pass"')
_BROKEN = "the answer can't be cleaned; the API's owner finds the reason in the server's log"


class Outgoing:
    """The answer to one request: it goes on as it comes, or is held back and cleaned, or is an error of ours.

    Attributes:
        request_id: the caller's, or a new one.
        decision: what became of the request; in shadow mode, what would have.
        status: the HTTP status that the caller got.
        ticked: when the guard or the app last began to work, in seconds of `perf_counter`.
        overhead: seconds of the guard's own work before.
        is_refused: whether an error of ours was sent instead of an answer.
    """

    __slots__ = ("_admission", "_answer", "_bits", "_by_name", "_chunks", "_headers", "_held_bytes", "_is_ended",
                 "_is_passing", "_options", "_rows_admitted", "_send", "_start", "_stream", "_tokens", "_upstream",
                 "decision", "is_refused", "overhead", "request_id", "status", "ticked")

    def __init__(self, admission: Admission, send: asgi.Send) -> None:
        self.ticked = perf_counter()
        given = admission.headers.get(b"x-request-id")
        self.request_id = given if given and _REQUEST_ID.fullmatch(given) else new_request_id()
        self._options = admission.options
        self._admission = admission
        self._send = send
        self.decision, self.status, self.overhead, self.is_refused = "served", 500, 0.0, False
        self._start: asgi.Message | None = None
        self._chunks: list[bytes] = []
        self._held_bytes = self._rows_admitted = 0
        self._answer: Answer | None = None
        self._is_ended = self._is_passing = False
        self._bits = 0.0
        self._stream: Stream | None = None
        self._tokens: float | None = None
        self._upstream: float | None = None

    @property
    def is_begun(self) -> bool:
        """Whether some of the answer has left, or all was settled."""
        return self._is_ended or self._is_passing

    @property
    def is_between_events(self) -> bool:
        """Whether a stream is under way that an error of ours may end."""
        return self._stream is not None and not self._is_ended and self._stream.is_between_events

    def begin(self) -> None:
        """From here on the app works."""
        self._rows_admitted = self._admission.n_rows
        if self._admission.is_flagged:
            self._decide("flagged")
        now = perf_counter()
        self.overhead += now - self.ticked
        self.ticked = now

    async def send(self, message: asgi.Message) -> None:
        """What the app sends."""
        kind, start = message["type"], self._start
        if self.is_refused:  # ASGI's way to end an app that goes on, maybe for ever
            raise ConnectionAbortedError("the answer was refused, nobody gets the rest")
        if self._is_ended:
            await self._send(message)
        elif self._stream is not None and kind == "http.response.body":
            await self._send_events(self._stream, message)
        elif kind == "http.response.start":
            await self._begin(message)
        elif kind == "http.response.body" and start is not None:
            chunk = message.get("body", b"")
            self._chunks.append(chunk)
            self._held_bytes += len(chunk)
            is_last = not message.get("more_body", False)
            if self._held_bytes > self._options.limit_answer_bytes:
                await self._let_go(start, message)
            elif self._is_passing:
                if is_last:
                    self._end_passed()
                await self._send(message)
            elif is_last:
                await self._finish(start)
        else:
            await self._send(message)

    async def refuse(self, error: RequestError) -> None:
        """Answer with an error of ours."""
        self.decision = error.decision
        await self._send_error(error.status, error.code, str(error), headers_of(error))

    async def interrupt(self, error: RequestError) -> None:
        """End a stream that the app gave up."""
        self._decide(error.decision)
        await self._end_with(error.status, error.code, str(error))

    def end(self) -> None:
        """The app has ended; settle what it broke off, by raising or by ending too soon."""
        if self._is_ended:
            return
        admission = self._admission
        self._decide("disconnected" if admission.is_gone else "failed")
        if not self._is_passing:
            self.status = CLIENT_CLOSED_REQUEST if admission.is_gone else 500
            self._end(_NOTHING, is_used=False)
            return
        assert admission.query is not None  # else it would have passed unread
        if self._stream is not None:
            self._end_stream(self._stream)
            return
        self._end(_NOTHING, is_used=True, charged_bits=admission.terms.expected_bits(admission.query.model))

    def note(self) -> Note:
        """What the metrics keep."""
        return (self._admission.route.kind, self.decision, self.status, self._rows_admitted, self._bits,
                self.overhead, self._upstream)

    async def _begin(self, start: asgi.Message) -> None:
        """Hold back what has to be cleaned; let the rest go on as it comes."""
        self._start = start
        self._headers = list(start.get("headers", ()))
        self._by_name = {name.lower(): value for name, value in self._headers}
        if b"x-request-id" not in self._by_name:
            self._headers.append((b"x-request-id", self.request_id))
        status = self.status = start["status"]
        admission, is_success = self._admission, 200 <= status < 300
        dialect = admission.route.dialect
        if admission.query is None or dialect is None or not is_success or status == 204:
            self._decide("unscanned" if is_success else "failed")
            self._end(_NOTHING, is_used=is_success)
        elif dialect.can_read(self._by_name):
            if self._options.enforce and (admission.terms.policies or self._marking() is not None):
                return
            self._is_passing = True
        elif dialect.error_event is not None and events.is_stream(self._by_name):
            self._begin_stream(dialect)
        elif not self._must_clean():
            self._decide("unscanned")
            self._end(_NOTHING, is_used=True)
        else:
            self._tick_upstream()
            if await self._blocks(AnswerError(_OTHER_FORMAT)):
                return
            self._end(_NOTHING, is_used=True)
        await self._send({**start, "headers": self._headers})

    def _begin_stream(self, dialect: Dialect) -> None:
        """Clean each event as it comes; where nothing has to be, all goes on as it comes."""
        options, admission = self._options, self._admission
        terms, query = admission.terms, admission.query
        assert query is not None  # `_begin` saw it
        releases = (terms.speak(query, options.noise(query.model)) if options.enforce and terms.policies else None)
        self._stream = Stream(dialect, terms, releases, options.limit_answer_bytes)
        self._is_passing = True
        if releases is not None:
            self._headers = [header for header in self._headers if header[0].lower() not in asgi.STALE_AFTER_EDIT]

    async def _send_events(self, stream: Stream, message: asgi.Message) -> None:
        """Some bytes of a stream: each event that is whole leaves by itself."""
        ticked = perf_counter()
        chunk, is_last = message.get("body", b""), not message.get("more_body", False)
        self._held_bytes += len(chunk)
        try:
            leaving = stream.feed(chunk)
            if is_last:
                leaving += stream.finish()
        except Exception as error:  # whatever a plug-in raises, the event isn't clean
            if self._options.blocks_uncleaned:
                await self._break_off(error)
                return
            self._note_uncleaned(error)
            leaving = stream.pass_on()
        if is_last:
            self._tick_upstream()
            self._end_stream(stream)
        self.overhead += perf_counter() - ticked
        for raw in leaving[:-1]:
            await self._send({"type": "http.response.body", "body": raw, "more_body": True})
        if leaving or is_last:
            await self._send({"type": "http.response.body", "body": leaving[-1] if leaving else b"",
                              "more_body": not is_last})

    async def _break_off(self, error: Exception) -> None:
        """End a stream with an error of ours, in the dialect's shape."""
        self._note_uncleaned(error)
        is_told = isinstance(error, AnswerError) and error.__cause__ is None
        await self._end_with(502, "answer_not_cleaned", str(error) if is_told else _BROKEN)

    async def _end_with(self, status: int, code: str, message: str) -> None:
        dialect = self._admission.route.dialect
        assert dialect is not None  # `_begin` saw it
        said = dialect.error(status, code, message)
        self.is_refused = True
        if self._stream is not None:
            self._end_stream(self._stream)
        await self._send({"type": "http.response.body", "more_body": False,
                          "body": events.written(dialect.error_event or b"", [said])})

    def _end_stream(self, stream: Stream) -> None:
        """Settle a stream, whole or broken off."""
        admission = self._admission
        if admission.terms.meters_tokens:
            self._count_tokens(stream.usage.total(admission.tokens_in, stream.tokens_out))
        self._end(Reading(None, stream.bits / max(admission.n_rows, 1)), is_used=True)

    def _count_tokens(self, tokens: float) -> None:
        admission = self._admission
        assert admission.query is not None  # what isn't read has none
        self._tokens = tokens
        admission.terms.expect_tokens(admission.query.model, tokens)

    async def _let_go(self, start: asgi.Message, message: asgi.Message) -> None:
        """What is too long to hold is blocked; or it goes on, and nobody reads it."""
        if not self._is_passing:
            self._tick_upstream()
            limit = self._options.limit_answer_bytes
            if await self._blocks(AnswerError(f"the answer is over {limit} bytes; ask for fewer rows at a time")):
                return
            await self._send({**start, "headers": self._headers})
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
        self._tick_upstream()
        body = released = Body(b"".join(self._chunks), self._by_name)
        try:
            released, reading = self._release(body)
        except Exception as error:  # whatever a plug-in raises, the answer isn't clean
            if await self._blocks(error):
                return
            reading = self._unguarded()
        self._end(reading, is_used=True)
        headers = self._headers
        if released is not body:
            stale = asgi.STALE_AFTER_EDIT | released.headers.keys()
            headers = [header for header in headers if header[0].lower() not in stale]
            headers += released.headers.items()
            headers.append((b"content-length", b"%d" % len(released.content)))
        self.overhead += perf_counter() - self.ticked
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": released.content, "more_body": False})

    def _end_passed(self) -> None:
        """Settle an answer that went on as it came; the journal reads it where nobody has to know it before."""
        self._tick_upstream()
        options, admission = self._options, self._admission
        terms = admission.terms
        dialect = admission.route.dialect
        assert dialect is not None  # `_begin` saw it
        body = Body(b"".join(self._chunks), self._by_name)
        if dialect.error_event is not None and not terms.policies:
            self._end_unread(dialect, body.content)
        elif options.journal is not None and not (terms.policies or terms.meters_bits):
            read = partial(_read_later, options, dialect, admission.n_rows, body)
            self._end(Later(read), is_used=True)
        else:
            would_be = _NOTHING  # in shadow mode, where limits count what the policies would have let through
            try:
                _, would_be = self._release(body)
            except Exception as error:
                self._note_uncleaned(error)
            self._end(self._unguarded(), is_used=True, charged_bits=would_be.bits)
        self.overhead += perf_counter() - self.ticked

    def _end_unread(self, dialect: Dialect, content: bytes) -> None:
        """Settle what a language model or an encoder said, and nobody has to read."""
        admission = self._admission
        if admission.terms.meters_tokens:
            counted = counting.usage(dialect, content)
            self._count_tokens(counted.total(admission.tokens_in, len(content) / BYTES_PER_TOKEN))
        bits = BITS_PER_BYTE * len(content) / admission.n_rows
        assert admission.query is not None  # `_begin` saw it
        admission.terms.expect(admission.query.model, bits)
        self._end(Reading(None, bits), is_used=True)

    def _tick_upstream(self) -> None:
        now = perf_counter()
        self._upstream = now - self.ticked
        self.ticked = now

    def _release(self, body: Body) -> tuple[Body, Reading]:
        """The answer as it leaves, and what was read of it.

        Raises:
            AnswerError: it can't be cleaned.
        """
        options, admission = self._options, self._admission
        terms, query, dialect = admission.terms, admission.query, admission.route.dialect
        assert query is not None  # `_begin` saw it
        assert dialect is not None
        try:
            answer = dialect.read_answer(body, admission.n_rows, options.scores)
            if not answer.is_scanned:
                raise AnswerError(_NO_PROBABILITIES)
        except AnswerError:
            if self._must_clean():
                raise
            self._decide("unscanned")
            return body, _NOTHING
        self._answer = answer
        if answer.speech is not None:
            return self._spoken(answer, answer.speech, body)
        body, released = self._marked(answer, body) or self._written(answer, body)
        bits = terms.answer_bits(answer)
        terms.expect(query.model, bits)
        return body, Reading(answer.rows, bits, released)

    def _spoken(self, answer: Answer, speech: Speech, body: Body) -> tuple[Body, Reading]:
        """What a language model or an encoder said, as it leaves.

        Raises:
            AnswerError: it can't be cleaned.
        """
        admission = self._admission
        terms, query, dialect = admission.terms, admission.query, admission.route.dialect
        assert query is not None  # `_release` saw both
        assert dialect is not None
        if terms.meters_tokens:
            self._count_tokens(speech.usage.total(admission.tokens_in, speech.tokens_out))
        released = terms.speak(query, self._options.noise(query.model)).feed(speech) if terms.policies else speech
        marking = self._marking()
        if marking is not None:
            self._accept_terms(marking)
            released = marking.write(admission.account.id, query, released)
        bits = terms.speech_bits(released) / admission.n_rows
        terms.expect(query.model, bits)
        if released is not speech:
            body = dialect.write_answer(answer.with_speech(released), {})
        return body, Reading(None, bits)

    def _marking(self) -> Marking | None:
        """What marks this answer, None where nothing may."""
        return self._options.marking if self._options.enforce and self._admission.terms.is_marked else None

    def _marked(self, answer: Answer, body: Body) -> tuple[Body, dict[str, Rows] | None] | None:
        """The answer with its marks, written down in the ledger; None where it has to leave without any."""
        marking, admission = self._marking(), self._admission
        query, dialect = admission.query, admission.route.dialect
        marked = None if marking is None or query is None else marking.embed(answer, query)
        if marking is None or query is None or dialect is None or marked is None:
            return None
        written, released = self._written(marked.answer, body, is_changed=marked.is_changed)
        if marked.is_changed:
            whole = Body(written.content, {**body.headers, **written.headers})
            followed = dialect.relabelled(whole, marked.truths, marked.labels)
            if followed is None:
                marking.note_unmappable(marked)
                return None
            written = Body(followed.content, {**written.headers, **followed.headers})
        (name, output), = marked.answer.outputs.items()
        rows = output.rows if released is None else released[name]
        self._accept_terms(marking)
        return (written, released) if marking.record(admission.account.id, query, marked, rows) else None

    def _accept_terms(self, marking: Marking) -> None:
        acceptance, admission = self._options.acceptance, self._admission
        accepted = None if acceptance is None else acceptance.of(admission.headers)
        if accepted is not None:
            marking.accept(admission.account.id, accepted)

    def _written(self, answer: Answer, body: Body, *,
                 is_changed: bool = False) -> tuple[Body, dict[str, Rows] | None]:
        """The answer through the policies, and what they released; as it is where there are none."""
        terms, query, dialect = self._admission.terms, self._admission.query, self._admission.route.dialect
        assert query is not None  # `_release` saw both
        assert dialect is not None
        if not answer.outputs or not (terms.policies or is_changed):
            return body, None
        released = terms.release(answer, query, self._options.noise(query.model))
        return dialect.write_answer(answer, released), released

    def _unguarded(self) -> Reading:
        """What an answer tells that leaves as it is."""
        answer = self._answer
        return _NOTHING if answer is None else _read(answer, self._admission.n_rows)

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
        logger.error("answer not cleaned (request %s): %s", self.request_id.decode(), error,
                     exc_info=None if isinstance(error, AnswerError) else error)

    def _decide(self, decision: str) -> None:
        """The first decision stays: in shadow mode, the request wouldn't have come so far."""
        if self.decision in ANSWERED:
            self.decision = decision

    def _end(self, reading: Reading | Later, *, is_used: bool, charged_bits: float | None = None) -> None:
        """Settle the limits and journal the exchange.

        Args:
            reading: what was read of the answer.
            is_used: whether the query was answered.
            charged_bits: what limits count for each query, the reading's bits where left out.
        """
        self._is_ended = True
        options, admission = self._options, self._admission
        query, n_rows = admission.query, admission.n_rows
        if isinstance(reading, Reading):
            self._bits = reading.bits * n_rows
        admission.settle(self._bits if charged_bits is None else charged_bits * n_rows, self._tokens,
                         is_used=is_used)
        if options.journal is not None:
            account, account_class = admission.account
            size, n_rows = (0, 1) if query is None else (len(admission.content) + self._held_bytes, n_rows)
            options.journal.append(Record(options.clock(), account, account_class, admission.route.kind,
                                          self.decision, self.status, size, n_rows, query, reading))

    async def _send_error(self, status: int, code: str, message: str, headers: asgi.Headers) -> None:
        self.status = status
        self.is_refused = True
        self.overhead += perf_counter() - self.ticked
        self._end(_NOTHING, is_used=False)
        dialect = self._admission.route.dialect
        body = (dialect.error(status, code, message) if dialect
                else orjson.dumps({"error": message, "code": code}))
        await self._send({"type": "http.response.start", "status": status, "headers": [
            (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)),
            (b"x-request-id", self.request_id), *headers]})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


def _read_later(options: Options, dialect: Dialect, n_rows: int, body: Body) -> Reading:
    """What the journal keeps of an answer that nothing had to be done to."""
    try:
        answer = dialect.read_answer(body, n_rows, options.scores)
    except AnswerError:
        return _NOTHING
    reading = _read(answer, n_rows)
    options.metrics.note_bits(reading.bits * n_rows)
    return reading


def _read(answer: Answer, n_rows: int) -> Reading:
    """What an answer tells that no policy touched."""
    if answer.speech is not None:
        return Reading(None, UNGUARDED.speech_bits(answer.speech) / n_rows)
    return Reading(answer.rows, UNGUARDED.answer_bits(answer))

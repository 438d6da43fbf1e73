"""The public port's connections: what uvicorn doesn't bound, and requests that could be read in two ways."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import Any

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from counterclone.guard import asgi

HEAD_BYTES = 1 << 16
"""The most of a request line and headers."""
URL_BYTES = 1 << 13
PIPELINED = 16
"""Requests of one connection that may wait for the answer to another."""
LINGER_SECONDS = 2.0
"""How long a client may take to read why nothing more is read from it; closed at once, it might not get it."""

_UPGRADE = re.compile(rb"(?<=\r\n)upgrade[ \t]*:[^\r\n]*\r\n", re.IGNORECASE)
_SWITCHES = frozenset({b"", b"close", b"keep-alive", b"upgrade"})
"""What a `connection` header says that isn't another header's name."""


class Refusal(Exception):
    """A request that is answered before any app hears of it, and closes its connection."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def answer(self) -> bytes:
        """The whole answer as it goes out, in the shape of a format that isn't known yet."""
        body = orjson.dumps({"error": str(self), "code": self.code})
        retry = b"retry-after: 1\r\n" if self.status == HTTPStatus.SERVICE_UNAVAILABLE else b""
        return (b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
                b"%sconnection: close\r\n\r\n%s" % (
                    self.status, self.status.phrase.encode(), len(body), retry, body))


class Connection(HttpToolsProtocol):
    """One connection of a client, that knows since when it keeps us waiting.

    Nothing here costs a timer for each request: the gateway looks over all connections once a second.

    Args:
        limit_connections: how many may be open at once.
    """

    def __init__(self, *args: Any, limit_connections: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit_connections = limit_connections
        self._sending_since: float | None = None
        self._reading_since: float | None = None
        self._unsent: tuple[int, float] = (0, 0.0)
        self._answered: RequestResponseCycle | None = None
        self._is_between = True
        self._is_deaf = False
        self._chunk_bytes = 0
        self._head_bytes: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came."""
        super().connection_made(transport)
        self._sending_since = self.loop.time()
        if len(self.connections) > self._limit_connections:
            self._is_deaf = True
            transport.write(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "guard_full",
                                    "too many connections are open; try again later").answer())
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went away, of which its request under way hears even if others wait behind it."""
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._unset_keepalive_if_required()
        if self._is_deaf:
            return
        if self._is_between:
            if self._sending_since is None:  # maybe with empty lines, which begin no request
                self._sending_since = self.loop.time()
            if b"pgrade:" in data:
                data = _without_upgrade(data)
        self._chunk_bytes = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The parser takes what follows for another protocol, so it isn't read as requests.
            self._is_deaf, self.cycle.keep_alive = True, False
        except httptools.HttpParserCallbackError as error:
            self._refuse(error.__context__ if isinstance(error.__context__, Refusal) else _malformed("no HTTP"))
        except httptools.HttpParserError as error:
            self._refuse(_malformed(str(error)))
        else:
            if self._head_bytes is not None:
                self._head_bytes += self._chunk_bytes
                if self._head_bytes > HEAD_BYTES:
                    self._refuse(_too_long())

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._sending_since = self.loop.time()
        self._is_between = False
        self._head_bytes = -self._chunk_bytes  # it may begin at the chunk's end

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is whole; one that follows a body in chunks is left out, since nobody has looked at it."""
        if self._head_bytes is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A request's head is whole.

        Raises:
            Refusal: it could be read in two ways, or is more than the connection takes.
        """
        is_in_segments, self._head_bytes = self._head_bytes is None or self._head_bytes >= 0, None
        self._check_head(may_be_long=is_in_segments or self._chunk_bytes > HEAD_BYTES)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is whole; whoever waits now is the client."""
        self._sending_since = None
        self._is_between = True
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self._reading_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has read on."""
        self._reading_since = None
        super().resume_writing()

    def is_slow(self, patience_seconds: float) -> bool:
        """Whether the client has been sending one request, or not reading an answer, for so long."""
        now, unsent = self.loop.time(), self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent[0]:
            self._unsent = unsent, now
        waiting = [since for since in (self._sending_since, self._reading_since, self._unsent[1])
                   if since is not None]
        return now - min(waiting) > patience_seconds

    def drop(self) -> None:
        """Close at once, whatever is under way."""
        self.transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _check_head(self, *, may_be_long: bool) -> None:
        """Refuse what another server may read otherwise, and end the headers that end here.

        Args:
            may_be_long: whether its bytes have to be counted.

        Raises:
            Refusal: as it says.
        """
        headers, version = self.headers, self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "invalid_request",
                          f"HTTP/{version} isn't spoken here; use HTTP/1.1")
        if len(self.url) > URL_BYTES:
            raise Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, "invalid_request",
                          f"the path and query are over {URL_BYTES} bytes; send the query in the body")
        if may_be_long and len(self.url) + sum(len(name) + len(value) + 4 for name, value in headers) > HEAD_BYTES:
            raise _too_long()
        if not self.url.startswith((b"/", b"http://", b"https://")):
            raise _malformed("the request line names no path")
        if len(self.pipeline) >= PIPELINED:
            raise _malformed(f"over {PIPELINED} requests wait on one connection; open another one")
        given = dict(headers)
        if len(given) < len(headers) and (twice := asgi.sent_twice(headers)):
            raise _malformed(f"there are two {twice.decode()} headers")
        if version == "1.1" and b"host" not in given:
            raise _malformed("the host header is missing")
        coding = given.get(b"transfer-encoding")
        if coding is not None and (version == "1.0" or coding.lower() != b"chunked"):
            raise _malformed("the body can only come with a content-length, or in chunks")
        if self.parser.should_upgrade() and (coding or given.get(b"content-length", b"0") != b"0"):
            raise _malformed("a request with a body can't change the protocol")
        if b"connection" in given:
            self._end_headers()

    def _end_headers(self) -> None:
        """Take out the headers that are for us alone: what the target doesn't get, the guard doesn't read."""
        named = {token.strip().lower() for name, value in self.headers if name == b"connection"
                 for token in value.split(b",")} - _SWITCHES
        if named:
            self.headers[:] = [header for header in self.headers if header[0] not in named]

    def _refuse(self, refusal: Refusal) -> None:
        """Answer, if the client waits for no other answer, and read nothing more."""
        self._is_deaf = True
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:  # an earlier request, whose answer this one's must not overtake
                cycle.keep_alive = False
                return
            if self.pipeline or cycle.response_started:
                self.drop()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        if self.transport.is_closing():
            return
        self.transport.write(refusal.answer())
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)


def _without_upgrade(data: bytes) -> bytes:
    """Bytes that begin with a request's head, less what asks for another protocol.

    HTTP lets us ignore it (RFC 9110, section 7.8), and the parser would ignore the body instead.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"", head + b"\r\n") + b"\r\n" + rest if end else data


def _malformed(problem: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "invalid_request",
                   f"this isn't HTTP as RFC 9112 has it: {problem}; correct the request")


def _too_long() -> Refusal:
    return Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "invalid_request",
                   f"the request's head is over {HEAD_BYTES} bytes; send fewer headers")

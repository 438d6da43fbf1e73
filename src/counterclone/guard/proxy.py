"""The model server behind the gateway, as an ASGI app: a reverse proxy over one pool of connections."""

from __future__ import annotations

import asyncio
import io
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from counterclone.errors import Busy, RequestError, TargetError, TargetSlow
from counterclone.guard import asgi

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

logger = logging.getLogger(__name__)

WATCH_SECONDS = 0.05
"""A request that takes longer is worth a task that sees its client go away."""
IDLE_SECONDS = 4.0
"""Connections that rest longer are closed: servers close theirs after five seconds or more, maybe as we write."""
AT_ONCE_BYTES = 1 << 16
"""An answer of a known length up to this is read whole and leaves in one message."""
LARGE_BODY_BYTES = 1 << 20
URLS_KEPT = 1024
LOG_SECONDS = 10.0
STATUSES = range(200, 600)
BODILESS = frozenset({204, 304})
"""Statuses whose answers end with their head."""

_HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade"})
"""RFC 9110, section 7.6.1: they belong to one connection."""
_OURS = _HOP_BY_HOP | {b"host", b"expect", b"forwarded", b"x-forwarded-for", b"x-forwarded-host",
                       b"x-forwarded-proto", b"x-real-ip", b"x-http-method", b"x-http-method-override",
                       b"x-method-override", b"x-original-url", b"x-rewrite-url"}
"""Request headers that the gateway writes itself, or has dealt with, or that would make it another request."""
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_IN_CHUNKS = (b"transfer-encoding", b"chunked")
_NO_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NO_AUTO_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

_DOWN = "the model server can't be reached; try again later"
_BROKEN = "the model server broke off, or didn't answer as HTTP has it; try again later"
_SLOW = "the model server took too long; try again later, or ask for fewer rows at a time"
_STOPPING = "the gateway stops; try again"


class Proxy:
    """Lets the target answer, byte for byte but for the headers that belong to a connection.

    Nothing is sent twice: only a connection that couldn't be made is tried again, and what HTTP calls idempotent
    where a connection closed before the answer.

    Args:
        url: of the target; its path comes before the request's.
        connect_seconds: how long a connection may take.
        answer_seconds: how long the target may be silent, and take to begin its answer.
        limit_connections: at once; a request for which none is left is refused.

    Attributes:
        trouble: why the last attempt at a connection failed, None where it didn't.
        in_flight: requests under way.
        limit_connections: as given.
    """

    def __init__(self, url: str, *, connect_seconds: float, answer_seconds: float,
                 limit_connections: int) -> None:
        self.url = url.rstrip("/")
        self.trouble: str | None = None
        self.in_flight = 0
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds, sock_connect=connect_seconds,
                                              sock_read=answer_seconds)
        self._answer_seconds = answer_seconds
        self.limit_connections = limit_connections
        self._session: ClientSession | None = None
        self._path = urlsplit(self.url).path.encode()
        self._url = lru_cache(maxsize=URLS_KEPT)(self._find_url)
        self._logged = -LOG_SECONDS

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """One ASGI connection.

        Raises:
            TargetError: the target is down, slow, or broke off.
            Busy: as many requests are under way as there may be connections, or the server stops.
            RequestError: the request can't be passed on as it is.
        """
        if scope["type"] == "http":
            await self._forward(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def probe(self) -> None:
        """See whether the target takes connections; `trouble` says so afterwards."""
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            async with asyncio.timeout(self._timeout.sock_connect):
                _, writer = await asyncio.open_connection(parts.hostname, port)
        except (OSError, ValueError) as error:  # TimeoutError is one
            self.trouble = _reason(error)
        else:
            self.trouble = None
            writer.close()

    async def close(self) -> None:
        """Close all connections; once more does nothing."""
        if self._session is not None:
            await self._session.close()

    async def _live(self, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        connector = Pool(limit=self.limit_connections, keepalive_timeout=IDLE_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False,
            skip_auto_headers=_NO_AUTO_HEADERS, max_line_size=1 << 14, max_field_size=1 << 16)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _forward(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if self.in_flight >= self.limit_connections:
            raise Busy(f"{self.limit_connections} requests are under way, no more are taken; try again")
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        watch = Watch(receive, self._answer_seconds)
        has_begun = False
        self.in_flight += 1
        try:
            answer = await self._ask(scope, _sent(scope, message, receive, watch))
            watch.is_answered = True
            try:
                start = _start(answer, self._relative)
                length = 0 if answer.status in BODILESS else answer.content_length
                content = await answer.read() if length is not None and length <= AT_ONCE_BYTES else None
                has_begun = True
                await send(start)
                await _pass_on(answer, content, send)
            finally:
                answer.release()
        except asyncio.CancelledError:
            if watch.is_late:
                self._fail(TimeoutError("the head of its answer took too long"), has_begun)
            if not watch.is_gone and has_begun:
                raise
            if not watch.is_gone:
                raise Busy(_STOPPING) from None
        except ConnectionAbortedError:  # the guard's word: nobody gets the rest of this answer
            raise
        except (TimeoutError, aiohttp.ClientError, ValueError, OSError) as error:
            if not watch.is_gone:
                self._fail(error, has_begun)
        finally:
            self.in_flight -= 1
            watch.stop()

    async def _ask(self, scope: asgi.Scope, body: _Sent) -> ClientResponse:
        assert self._session is not None  # the server lives the lifespan first
        path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        url = self._url(path, scope["query_string"])
        headers = _request_headers(scope)
        for is_last in (False, True):
            try:
                answer = await self._session.request(scope["method"], url, headers=headers, data=body,
                                                     allow_redirects=False)
                break
            except (aiohttp.ClientConnectorError, aiohttp.ClientConnectorDNSError) as error:
                if is_last or isinstance(error, aiohttp.ClientSSLError):
                    raise
        self.trouble = None
        return answer

    def _find_url(self, path: bytes, query: bytes) -> URL:
        return URL(f"{self.url}{path.decode('ascii')}{'?' if query else ''}{query.decode('ascii')}", encoded=True)

    def _relative(self, location: bytes) -> bytes:
        """A redirect into the target as one into the gateway."""
        own = self.url.encode()
        for prefix in (own, self._path):
            if prefix and (location + b"/").startswith(prefix + b"/"):
                return location[len(prefix):] or b"/"
        return location

    def _fail(self, error: Exception, has_begun: bool) -> NoReturn:
        """Tell the owner why, and the caller that.

        Raises:
            TargetError: always.
        """
        reason = _reason(error)
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            self.trouble = reason
        now = time.monotonic()
        if now - self._logged >= LOG_SECONDS:
            self._logged = now
            logger.error("target %s: %s", self.url, reason)
        if isinstance(error, TimeoutError):
            failure: TargetError = TargetSlow(_SLOW)
        else:
            failure = TargetError(_DOWN if isinstance(error, aiohttp.ClientConnectorError) else _BROKEN)
        failure.has_begun = has_begun
        raise failure from error


class Pool(aiohttp.TCPConnector):
    """Connections to the target, none of which has anything left of another request's answer."""

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        while (connection := await super()._get(key, traces)) is not None:
            assert connection.protocol is not None
            if not connection.protocol.should_close:  # it may have got more after its answer's end
                return connection
            connection.close()
        return None


class Watch:
    """Cancels a request whose client goes away, or whose target doesn't begin to answer; quick ones cost a timer.

    Args:
        receive: tells that the client went away.
        answer_seconds: how long the head of the answer may take once the request is sent.

    Attributes:
        is_answered: whether the head of the answer is there.
        is_gone: whether the client went away.
        is_late: whether the head took too long.
    """

    def __init__(self, receive: asgi.Receive, answer_seconds: float) -> None:
        self.is_answered = self.is_gone = self.is_late = False
        self._task = asyncio.current_task()
        self._receive = receive
        self._answer_seconds = answer_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, once the request's body is whole: until then, what is received belongs to that."""
        if self._task is None:  # the target answered before it was
            return
        self._timer = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._look)

    def stop(self) -> None:
        """Look away: the request is over."""
        self._task = None
        if self._timer is not None:
            self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()

    def _look(self) -> None:
        self._watching = asyncio.create_task(self._run())
        self._timer = asyncio.get_running_loop().call_later(self._answer_seconds, self._expire)

    def _expire(self) -> None:
        if not self.is_answered:
            self.is_late = True
            self._cancel()

    async def _run(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


_Sent = bytes | io.BytesIO | AsyncIterator[bytes] | None


def _sent(scope: asgi.Scope, message: asgi.Message, receive: asgi.Receive, watch: Watch) -> _Sent:
    """A body that came whole, or the rest of it as it comes."""
    content: bytes = message.get("body", b"")
    if message.get("more_body", False):
        return _rest(content, receive, watch)
    watch.start()
    if len(content) > LARGE_BODY_BYTES:  # which the client's library would rather have as a file
        return io.BytesIO(content)
    is_announced = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
    return content if content or is_announced else None


async def _rest(content: bytes, receive: asgi.Receive, watch: Watch) -> AsyncIterator[bytes]:
    yield content
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            watch.is_gone = True
            raise ConnectionError("the client went away in the middle of its request")
        yield message.get("body", b"")
        more = message.get("more_body", False)
    watch.start()


def _start(answer: ClientResponse, relative: Callable[[bytes], bytes]) -> asgi.Message:
    """The head of an answer as it goes on.

    Raises:
        ValueError: it isn't HTTP's; the client's library lets some of it pass.
    """
    if answer.status not in STATUSES:
        raise ValueError(f"status {answer.status}, which nobody asked for")
    headers = [(name.lower(), value) for name, value in answer.raw_headers]
    if _NO_VALUE.search(b" ".join([value for _, value in headers])):
        raise ValueError("a header with characters that headers can't have")
    dropped = _dropped(headers, _HOP_BY_HOP)
    framing = [(name, value.lower()) for name, value in headers if name in _FRAMING]
    if framing and (len(framing) > 1 or not (framing[0][1].isdigit() or framing[0] == _IN_CHUNKS)):
        raise ValueError("a body of two lengths, or of none that HTTP has")
    if answer.status in BODILESS:
        dropped = dropped | {b"content-length"}
    kept = [header for header in headers if header[0] not in dropped]
    if answer.status // 100 == 3:
        kept = [(name, relative(value) if name == b"location" else value) for name, value in kept]
    return {"type": "http.response.start", "status": answer.status, "headers": kept}


async def _pass_on(answer: ClientResponse, content: bytes | None, send: asgi.Send) -> None:
    """The body of an answer: what was read of it whole, or as it comes."""
    if content is None:
        async for chunk in answer.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": content or b"", "more_body": False})


def _request_headers(scope: asgi.Scope) -> CIMultiDict[str]:
    given: asgi.Headers = scope["headers"]
    dropped = _dropped(given, _OURS)
    headers = CIMultiDict([(name.decode("latin-1"), _text(value)) for name, value in given if name not in dropped])
    client = scope.get("client")
    if client:
        headers["X-Forwarded-For"] = client[0]
    headers["X-Forwarded-Proto"] = scope.get("scheme", "http")
    host = next((value for name, value in given if name == b"host"), None)
    if host:
        headers["X-Forwarded-Host"] = _text(host)
    return headers


def _dropped(headers: asgi.Headers, always: frozenset[bytes]) -> frozenset[bytes]:
    """The names that don't go on: also those that a `connection` header names."""
    named = [value for name, value in headers if name == b"connection"]
    if not named:
        return always
    return always | {token.strip().lower() for value in named for token in value.split(b",")}


def _text(value: bytes) -> str:
    """A header's value as text that is written as the same bytes.

    Raises:
        RequestError: there is none.
    """
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise RequestError("a header is neither ASCII nor UTF-8; send it in one of them") from None


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__

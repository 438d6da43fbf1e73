"""The model server behind the gateway, as an ASGI app: a reverse proxy over one pool of connections."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from counterclone.errors import TargetError, TargetSlow
from counterclone.guard import asgi

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

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
SWITCHING_PROTOCOLS = 101

_HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade"})
"""RFC 9110, section 7.6.1: they belong to one connection."""
_OURS = _HOP_BY_HOP | {b"host", b"expect", b"forwarded", b"x-forwarded-for", b"x-forwarded-host",
                       b"x-forwarded-proto", b"x-real-ip"}
"""Request headers that the gateway writes itself, or has dealt with."""
_NO_AUTO_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

_DOWN = "the model server can't be reached; try again later"
_BROKEN = "the model server broke off, or didn't answer as HTTP has it; try again later"
_SLOW = "the model server took too long; try again later, or ask for fewer rows at a time"


class Proxy:
    """Lets the target answer, byte for byte but for the headers that belong to a connection.

    Nothing is sent twice: only a connection that couldn't be made is tried again.

    Args:
        url: of the target; its path comes before the request's.
        connect_seconds: how long a connection may take.
        answer_seconds: how long the target may be silent.
        limit_connections: at once; where they are all in use, a request waits `connect_seconds` for one.

    Attributes:
        trouble: why the last attempt at a connection failed, None where it didn't.
    """

    def __init__(self, url: str, *, connect_seconds: float, answer_seconds: float,
                 limit_connections: int) -> None:
        self.url = url.rstrip("/")
        self.trouble: str | None = None
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds, sock_connect=connect_seconds,
                                              sock_read=answer_seconds)
        self._limit = limit_connections
        self._session: ClientSession | None = None
        self._url = lru_cache(maxsize=URLS_KEPT)(self._find_url)
        self._logged = -LOG_SECONDS

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """One ASGI connection.

        Raises:
            TargetError: the target is down, slow, or broke off; nothing was sent if it hadn't begun to answer.
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
        except OSError as error:  # TimeoutError is one
            self.trouble = _reason(error)
        else:
            self.trouble = None
            writer.close()

    async def _live(self, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        connector = aiohttp.TCPConnector(limit=self._limit, keepalive_timeout=IDLE_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False,
            skip_auto_headers=_NO_AUTO_HEADERS, max_line_size=1 << 14, max_field_size=1 << 16)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _forward(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        watch = Watch(receive)
        try:
            answer = await self._ask(scope, _sent(scope, message, receive, watch))
            try:
                await self._pass_on(answer, send)
            finally:
                answer.release()
        except asyncio.CancelledError:
            if not watch.is_gone:
                raise
        except (TimeoutError, aiohttp.ClientError, ValueError, OSError) as error:
            self._fail(error)
        finally:
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
        if answer.status == SWITCHING_PROTOCOLS:
            answer.close()
            raise aiohttp.ClientPayloadError("101 Switching Protocols, which nobody asked for")
        return answer

    async def _pass_on(self, answer: ClientResponse, send: asgi.Send) -> None:
        start = {"type": "http.response.start", "status": answer.status, "headers": self._answer_headers(answer)}
        length = answer.content_length
        if length is not None and length <= AT_ONCE_BYTES:
            content = await answer.read()
            await send(start)
            await send({"type": "http.response.body", "body": content, "more_body": False})
            return
        await send(start)
        async for chunk in answer.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _find_url(self, path: bytes, query: bytes) -> URL:
        return URL(f"{self.url}{path.decode('ascii')}{'?' if query else ''}{query.decode('ascii')}", encoded=True)

    def _answer_headers(self, answer: ClientResponse) -> asgi.Headers:
        headers = [(name.lower(), value) for name, value in answer.raw_headers]
        dropped = _dropped(headers, _HOP_BY_HOP)
        kept = [header for header in headers if header[0] not in dropped]
        if answer.status // 100 == 3:
            kept = [(name, self._relative(value) if name == b"location" else value) for name, value in kept]
        return kept

    def _relative(self, location: bytes) -> bytes:
        """A redirect into the target as one into the gateway."""
        own = self.url.encode()
        return location[len(own):] if location.startswith(own + b"/") else location

    def _fail(self, error: Exception) -> NoReturn:
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
            raise TargetSlow(_SLOW) from error
        raise TargetError(_DOWN if isinstance(error, aiohttp.ClientConnectorError) else _BROKEN) from error


class Watch:
    """Cancels a request whose client goes away while the target thinks; quick ones cost a timer only.

    Attributes:
        is_gone: whether it did.
    """

    def __init__(self, receive: asgi.Receive) -> None:
        self.is_gone = False
        self._task = asyncio.current_task()
        self._receive = receive
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, once the request's body is whole: until then, what is received belongs to that."""
        self._timer = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._look)

    def stop(self) -> None:
        """Look away: the request is over."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()

    def _look(self) -> None:
        self._watching = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
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
    return content if is_announced else None


async def _rest(content: bytes, receive: asgi.Receive, watch: Watch) -> AsyncIterator[bytes]:
    yield content
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise aiohttp.ClientPayloadError("the caller went away in the middle of its request")
        yield message.get("body", b"")
        more = message.get("more_body", False)
    watch.start()


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
    """A header's value as text that is written as the same bytes, but for those that aren't UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__

"""The server that is probed: a few short requests, whatever it answers."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from counterclone.discovery.text import shown
from counterclone.errors import ConfigError, TargetUnreachable
from counterclone.protocols import Body

if TYPE_CHECKING:
    from aiohttp import ClientSession

LIMIT_BYTES = 1 << 20
REQUEST_SECONDS = 5.0
QUERY_SECONDS = 10.0
ALL_SECONDS = 30.0
_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "counterclone"}


class Page(NamedTuple):
    """An answer of the server.

    Attributes:
        status: its status, 0 where none came in time.
        headers: names in lower case.
        content: the body, empty where it is over `LIMIT_BYTES`.
    """

    status: int
    headers: Mapping[bytes, bytes]
    content: bytes

    @property
    def body(self) -> Body:
        """The body as a dialect takes it."""
        return Body(self.content, self.headers)

    @property
    def document(self) -> Any:
        """The JSON value of an answer without an error, else None."""
        return self.json if 200 <= self.status < 300 else None

    @property
    def json(self) -> Any:
        """The JSON value of any answer, None where it is none."""
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(self.content)
        return None

    def header(self, name: bytes) -> str:
        """A header's text, "" where it isn't there."""
        return self.headers.get(name, b"").decode("latin-1")


NO_PAGE = Page(0, {}, b"")


class Site:
    """Asks the server: no redirect is followed, no cookie kept, nothing awaited for long, no long answer read.

    Attributes:
        tried: a line for each request that was sent.
    """

    def __init__(self, session: ClientSession) -> None:
        self.tried: list[str] = []
        self._session = session
        self._deadline = time.monotonic() + ALL_SECONDS

    async def reach(self, url: str) -> Page:
        """The first GET, which must be answered.

        Raises:
            ConfigError: the address is none.
            TargetUnreachable: nobody answers there, or not in HTTP.
        """
        import aiohttp

        try:
            return await self._fetch("GET", url, b"", REQUEST_SECONDS)
        except aiohttp.InvalidURL:
            raise ConfigError(f"{url}: no address that can be asked; expected one such as "
                              "http://127.0.0.1:9000") from None
        except TimeoutError:
            why = f"no answer within {REQUEST_SECONDS:.0f} seconds"
        except (aiohttp.ClientError, OSError) as error:
            why = _reason(error)
        raise TargetUnreachable(f"{url}: {why}; expected a model server's HTTP port; start the server, or correct "
                                "the address")

    async def get(self, url: str) -> Page:
        """A GET's answer; `NO_PAGE` where none comes in time."""
        return await self._try("GET", url, b"", REQUEST_SECONDS)

    async def post(self, url: str, document: object) -> Page:
        """The answer to a POST that isn't an inference, likewise."""
        return await self._try("POST", url, orjson.dumps(document), REQUEST_SECONDS)

    async def ask(self, url: str, content: bytes) -> Page:
        """The answer to the one inference query."""
        return await self._try("POST", url, content, QUERY_SECONDS)

    async def _try(self, method: str, url: str, content: bytes, seconds: float) -> Page:
        import aiohttp

        left = self._deadline - time.monotonic()
        if left > 0.0:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                return await self._fetch(method, url, content, min(seconds, left))
        return NO_PAGE

    async def _fetch(self, method: str, url: str, content: bytes, seconds: float) -> Page:
        import aiohttp

        asked = f"{method} {urlsplit(url).path or '/'}"
        self.tried.append(f"{asked} (no answer)")
        headers = {"content-type": "application/json"} if content else {}
        async with self._session.request(method, url, data=io.BytesIO(content) if content else None,
                                         headers=headers, allow_redirects=False,
                                         timeout=aiohttp.ClientTimeout(total=seconds)) as response:
            self.tried[-1] = f"{asked} ({response.status})"
            read = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                read += chunk
                if len(read) > LIMIT_BYTES:
                    read.clear()
                    break
            received = {name.lower(): value for name, value in response.raw_headers}
            return Page(response.status, received, bytes(read))


@contextlib.asynccontextmanager
async def visiting() -> AsyncIterator[Site]:
    """A site to probe, whose connections are closed at the end.

    Raises:
        ConfigError: the HTTP client isn't installed.
    """
    try:
        import aiohttp
    except ImportError:
        raise ConfigError("aiohttp isn't installed; `pip install 'counterclone[gateway]'`") from None
    async with aiohttp.ClientSession(headers=_HEADERS, auto_decompress=False,
                                     cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Site(session)


def _reason(error: Exception) -> str:
    """Why a connection failed, in the system's words where it has some."""
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        number = cause.errno or 0
        return shown(os.strerror(number) if number > 0 else cause.strerror or cause)  # else the resolver's own
    if isinstance(error, OSError):
        return shown(error.strerror or str(error))
    return "it doesn't answer as HTTP has it"

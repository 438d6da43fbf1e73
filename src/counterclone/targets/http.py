"""A model's HTTP API as a target: its owner asks as any client would, and waits where it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import urlsplit

import numpy as np

from counterclone import plugins
from counterclone.answers import Answer, Reply, Rows
from counterclone.errors import AnswerError, ConfigError, TargetError, TargetUnreachable
from counterclone.protocols import Body, Dialect
from counterclone.queries import Inputs
from counterclone.targets.parts import joined
from counterclone.targets.wires import Wire, find_wire

if TYPE_CHECKING:
    from aiohttp import ClientSession, StreamReader

TRIES = 6
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 900.0
"""A target that wants a longer pause ends the run; it goes on from what was kept."""
LIMIT_BYTES = 50_000_000
SAID_CHARACTERS = 200
_BUSY = frozenset({429, 502, 503, 504})
_TOO_LARGE = frozenset({413, 429})


class Endpoint(NamedTuple):
    """A model's API.

    Attributes:
        url: of the inference route, such as http://127.0.0.1:9000/v1/models/m:predict, .../v2/models/m or
            .../v1/completions.
        dialect: its wire format, `predict`, `oip` or `openai`; `auto` finds one of the first two from the path.
        scores: the output that holds probabilities; "" finds it.
        api_key: sent as a bearer key; "" for none.
        connect_seconds: how long a connection may take.
        answer_seconds: how long an answer may take.
        model: the model's name, where the API has several and is asked for it in each request; "" for the only
            one.
    """

    url: str
    dialect: str = "auto"
    scores: str = ""
    api_key: str = ""
    connect_seconds: float = 5.0
    answer_seconds: float = 60.0
    model: str = ""


class Http:
    """A target that is asked over HTTP.

    It is asked one request at a time. What wasn't answered is sent again: where no connection was made or it was
    closed, and after 429, 502, 503 and 504, as late as `Retry-After` says. Redirects aren't followed.

    Args:
        session: the HTTP client.
        wire: how queries are written.
        dialect: how answers are read.
        endpoint: whose they are.
        say: told of pauses.
    """

    def __init__(self, session: ClientSession, wire: Wire, dialect: Dialect, endpoint: Endpoint,
                 say: Callable[[str], None]) -> None:
        self._session = session
        self._wire = wire
        self._dialect = dialect
        self._endpoint = endpoint
        self._say = say

    async def query(self, inputs: Inputs) -> Reply:
        """The API's answers.

        Raises:
            TargetUnreachable: nobody answers, or not in time.
            TargetError: it refuses, or its answer isn't one row of probabilities, or one text, a query.
        """
        page = await self._ask(inputs) if len(inputs) <= self._wire.most else None
        if page is not None and self._wire.writes:
            return Reply(np.empty((len(inputs), 0)), texts=self._texts(page, len(inputs)))
        if page is not None:
            return Reply(self._rows(page, len(inputs)))
        half = len(inputs) // 2
        return joined([await self.query(inputs[:half]), await self.query(inputs[half:])])

    async def _ask(self, inputs: Inputs) -> Body | None:
        """The answer to a request; None where it must be sent in parts."""
        content = self._wire.request(inputs)
        wait = FIRST_WAIT_SECONDS
        for tries_left in reversed(range(TRIES)):
            page = await self._send(content, is_last=not tries_left)
            if page is None:
                await asyncio.sleep(wait)
                wait *= 2
                continue
            if 200 <= page.status < 300:
                return page.body
            asked_for = _retry_after(page.body.headers)
            if page.status in _TOO_LARGE and asked_for is None and len(inputs) > 1:
                return None
            if page.status not in _BUSY or not tries_left:
                raise self._refused(page)
            await self._pause(wait if asked_for is None else asked_for, page)
            wait *= 2
        raise AssertionError("the last try returns or raises")

    async def _send(self, content: bytes, *, is_last: bool) -> _Page | None:
        """The answer to one try; None where nobody answered and there is another."""
        import aiohttp

        url, headers = self._wire.url, {"content-type": "application/json", "accept-encoding": "identity"}
        try:
            async with self._session.post(url, data=content, headers=headers, allow_redirects=False) as response:
                received = {name.lower(): value for name, value in response.raw_headers}
                return _Page(response.status, Body(await _read(response.content), received))
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
                # It may have been answered, and paid for.
                raise TargetUnreachable(f"{url}: no answer within {self._endpoint.answer_seconds:g} seconds; look "
                                        "at the model server, or raise [target] answer_seconds") from None
            if is_last:
                raise TargetUnreachable(f"{url}: {error}; expected a model server's HTTP port; start it, or "
                                        "correct the address") from None
        return None

    async def _pause(self, seconds: float, page: _Page) -> None:
        if seconds > LONGEST_WAIT_SECONDS:
            raise TargetUnreachable(f"{self._wire.url}: answered {page.status} and asks for a pause of "
                                    f"{seconds:,.0f} seconds; go on then")
        if seconds >= 1.0:
            self._say(f"the target answered {page.status}: asking again in {seconds:.0f} seconds")
        await asyncio.sleep(seconds)

    def _answer(self, body: Body, n_queries: int) -> Answer:
        if not self._dialect.can_read(body.headers):
            raise TargetError(f"{self._wire.url}: the answer isn't in the API's format (see its content-type); "
                              "name the format in [target] dialect")
        try:
            return self._dialect.read_answer(body, n_queries, self._endpoint.scores)
        except AnswerError as error:
            raise TargetError(f"{self._wire.url}: {error}") from None

    def _texts(self, body: Body, n_queries: int) -> list[str]:
        """What was written for each prompt, without thoughts."""
        speech = self._answer(body, n_queries).speech
        found: dict[str, str] = {}
        for said in () if speech is None else speech.said:
            if not said.is_reasoning:
                choice = "/".join(said.name.split("/")[:2])
                found[choice] = found.get(choice, "") + said.text
        texts = [found.get(f"choices/{place}") for place in range(n_queries)]
        if len(found) != n_queries or None in texts:
            raise TargetError(f"{self._wire.url}: the answer to {n_queries} prompts has {len(found)} texts; "
                              "expected `choices` with one for each")
        return [text or "" for text in texts]

    def _rows(self, body: Body, n_queries: int) -> Rows:
        rows = self._answer(body, n_queries).rows
        if rows is None:
            raise TargetError(f"{self._wire.url}: the answer has no rows of probabilities, one for each of "
                              f"{n_queries} queries; name their output in [target] scores. An API of labels alone "
                              "is audited as a callable that returns one-hot rows")
        return rows

    def _refused(self, page: _Page) -> TargetError:
        said = page.body.content[:SAID_CHARACTERS].decode(errors="replace")
        plain = "".join(char if char.isprintable() else " " for char in said)
        hint = {401: "; put the key into the variable that [target] api_key_env names",
                404: "; name the inference route"}.get(page.status, "")
        return TargetError(f"{self._wire.url}: answered {page.status}{f' ({plain})' if plain else ''}{hint}")


class _Page(NamedTuple):
    status: int
    body: Body


@contextlib.asynccontextmanager
async def reaching(endpoint: Endpoint, say: Callable[[str], None] = lambda text: None) -> AsyncIterator[Http]:
    """A target whose connections are closed at the end.

    Raises:
        ConfigError: there is no such dialect, or the HTTP client isn't installed.
        TargetUnreachable: the server doesn't tell its model's inputs, or its models.
    """
    try:
        import aiohttp
    except ImportError:
        raise ConfigError("aiohttp isn't installed; `pip install 'counterclone[audit]'`") from None
    kind = endpoint.dialect
    if kind == "auto":
        kind = "oip" if "/v2/models/" in urlsplit(endpoint.url).path else "predict"
    dialect = cast(Dialect, plugins.build("dialects", {"kind": kind}, "[target] dialect"))
    timeout = aiohttp.ClientTimeout(total=endpoint.answer_seconds, sock_connect=endpoint.connect_seconds)
    headers = {"user-agent": "counterclone"}
    if endpoint.api_key:
        headers["authorization"] = f"Bearer {endpoint.api_key}"
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(),
                                     headers=headers) as session:
        wire = await find_wire(session, endpoint.url, kind, endpoint.model)
        yield Http(session, wire, dialect, endpoint, say)


async def _read(stream: StreamReader) -> bytes:
    read = bytearray()
    async for chunk in stream.iter_any():
        read += chunk
        if len(read) > LIMIT_BYTES:
            raise TargetError(f"an answer is over {LIMIT_BYTES} bytes; expected a row of probabilities a query")
    return bytes(read)


def _retry_after(headers: Mapping[bytes, bytes]) -> float | None:
    """Seconds that an answer asks to wait, None where it doesn't say."""
    text = headers.get(b"retry-after", b"").decode("latin-1").strip()
    if text.isdecimal():
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    return None

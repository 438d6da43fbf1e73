from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from counterclone import Guard
from counterclone.guard import asgi
from counterclone.journal import JournalFolder
from counterclone.queries import Features

JSON = (b"content-type", b"application/json")
KEY_FILE = "counterclone.key"
SECRET = "0123456789abcdef" * 4


class Reply(NamedTuple):
    """What a client got, and the messages that brought it; status 0 where no answer came."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    messages: list[asgi.Message]

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def rows(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The probabilities in `predictions`."""
        return np.array(self.json["predictions"], dtype=np.float64)


class Guarded:
    """A guard around an app, driven as a server would drive it."""

    def __init__(self, app: asgi.App, folder: Path, settings: str, secret: str) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / KEY_FILE).write_text(secret)
        (folder / KEY_FILE).chmod(0o600)
        (folder / "counterclone.toml").write_text(settings)
        self.registry = CollectorRegistry()
        self.guard = Guard(app, folder / "counterclone.toml", registry=self.registry)

    async def send(self, body: object = b"", *, key: str | None = "ann", path: str = "/predict",
                   method: str = "POST", headers: Iterable[tuple[bytes, bytes]] = (),
                   chunks: Iterable[bytes] | None = None, receive: asgi.Receive | None = None,
                   **scope: Any) -> Reply:
        """Ask once; a body that is no bytes goes as JSON, `chunks` as a body in pieces."""
        body = body if isinstance(body, bytes) else orjson.dumps(body)
        bearer = [] if key is None else [(b"authorization", b"Bearer " + key.encode())]
        sent: list[asgi.Message] = []

        async def collect(message: asgi.Message) -> None:
            sent.append(message)

        await self.guard({
            "type": "http", "method": method, "path": path, "query_string": b"", "client": ("192.0.2.7", 4321),
            "headers": [JSON, (b"content-length", b"%d" % len(body)), *bearer, *headers], **scope,
        }, receive or receiving([body] if chunks is None else chunks), collect)
        bodies = b"".join(each.get("body", b"") for each in sent if each["type"] == "http.response.body")
        starts = [each for each in sent if each["type"] == "http.response.start"]
        assert len(starts) <= 1
        status, headers = (starts[0]["status"], starts[0]["headers"]) if starts else (0, [])
        return Reply(status, dict(headers), bodies, sent)

    def ask(self, body: object = b"", **how: Any) -> Reply:
        """As `send`, from outside an event loop."""
        return asyncio.run(self.send(body, **how))

    def exchanges(self, journal: str = "journal") -> list[dict[str, Any]]:
        """The journal's rows, in order of time; the guard is closed."""
        self.guard.close()
        folder = self.folder / journal
        if not folder.is_dir():
            return []
        return [row for batch in JournalFolder(folder).batches() for row in batch.to_pylist()]

    def decisions(self) -> list[str]:
        return [row["decision"] for row in self.exchanges()]

    def admin(self, path: str) -> Reply:
        """What the private port answers."""
        sent: list[asgi.Message] = []

        async def collect(message: asgi.Message) -> None:
            sent.append(message)

        asyncio.run(self.guard.admin({"type": "http", "method": "GET", "path": path}, receiving([]), collect))
        return Reply(sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"], sent)

    def metrics(self) -> dict[str, float]:
        """Every sample of `/metrics`, by its name and labels: `requests_total served predict 2xx`."""
        text = self.admin("/metrics").body.decode()
        families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        return {" ".join([sample.name.removeprefix("counterclone_"), *sample.labels.values()]): sample.value
                for family in families for sample in family.samples}


def receiving(chunks: Iterable[bytes]) -> asgi.Receive:
    """A body in pieces, then a client that goes away."""
    pieces = list(chunks)
    messages: Iterator[asgi.Message] = iter([
        *({"type": "http.request", "body": piece, "more_body": number < len(pieces)}
          for number, piece in enumerate(pieces, start=1)), {"type": "http.disconnect"}])

    async def receive() -> asgi.Message:
        return next(messages)

    return receive


Build = Callable[..., Guarded]


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """Builds a guard around an app from settings, in a folder of its own; all have one secret unless told."""
    monkeypatch.delenv("COUNTERCLONE_SECRET", raising=False)
    built: list[Guarded] = []

    def build(app: asgi.App, settings: str = "", *, secret: str = SECRET, folder: Path | None = None) -> Guarded:
        built.append(Guarded(app, folder or tmp_path / f"guard{len(built)}", settings, secret))
        return built[-1]

    yield build
    for each in built:
        each.guard.close()


Model = Callable[..., asgi.App]


@pytest.fixture(scope="session")
def answering() -> Model:
    """Builds an app that answers the same to every request, in one message or in pieces; `seen` keeps requests."""

    def build(*pieces: bytes, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = (JSON,),
              seen: list[tuple[asgi.Scope, bytes]] | None = None) -> asgi.App:
        async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
            body = await whole(receive)
            if seen is not None:
                seen.append((scope, body))
            await send({"type": "http.response.start", "status": status, "headers": [*headers]})
            for number, piece in enumerate(pieces, start=1):
                await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

        return app

    return build


@pytest.fixture(scope="session")
def classifier() -> asgi.App:
    """Three classes, linear in four features: `instances` in, `predictions` out."""
    weights = np.linspace(-2.0, 2.0, 12).reshape(4, 3)[:, ::-1] ** 3

    def probabilities(features: Features) -> Features:
        logits = features @ weights
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        asked = np.array(orjson.loads(await whole(receive))["instances"], dtype=np.float64)
        body = orjson.dumps({"predictions": probabilities(asked).tolist(), "model": "linear"})
        await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
        await send({"type": "http.response.body", "body": body})

    return app


async def whole(receive: Callable[[], Awaitable[asgi.Message]]) -> bytes:
    """A request's body, as an app reads it."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        piece: bytes = message.get("body", b"")
        body += piece
        if not message.get("more_body", False):
            return body

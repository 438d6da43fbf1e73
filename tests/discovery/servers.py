"""Servers to be discovered: apps over HTTP, tables of answers, and ports that answer nothing of use."""

from __future__ import annotations

import contextlib
import socket
import threading
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import orjson
import uvicorn

from counterclone import compose, config, discovery
from counterclone.guard import asgi
from counterclone.testing.oip_server import Model, OipServer, Tensor

MOST_GETS = 12
QUERY = ("infer", "predict", "invocations", "score")
"""How the paths of inference end."""


class Served:
    """An app over HTTP.

    Attributes:
        url: where it answers.
        asked: method, path and body of each request.
    """

    def __init__(self, app: asgi.App, url: str) -> None:
        self.app = app
        self.url = url
        self.asked: list[tuple[str, str, bytes]] = []

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        message = await receive()
        self.asked.append((scope["method"], scope["path"], message.get("body", b"")))

        async def again() -> asgi.Message:
            return message

        await self.app(scope, again, send)

    @property
    def queries(self) -> list[tuple[str, Any]]:
        """Path and document of each inference query."""
        return [(path, orjson.loads(body)) for method, path, body in self.asked
                if method == "POST" and path.endswith(QUERY)]


@contextlib.contextmanager
def serving(app: asgi.App) -> Iterator[Served]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        served = Served(app, f"http://127.0.0.1:{listener.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(served, log_level="critical", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield served
            gets = [path for method, path, _ in served.asked if method == "GET"]
            assert len(gets) <= MOST_GETS
            assert len(served.queries) <= 1
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A port where a function has each connection."""

    def run() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    answer(connection)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


class Reply:
    """An answer of a server that is nothing but a table of answers."""

    def __init__(self, content: bytes | object = b"", status: int = 200, **headers: str) -> None:
        self.content = content if isinstance(content, bytes) else orjson.dumps(content)
        self.status = status
        kind = {} if isinstance(content, bytes) else {"content-type": "application/json"}
        self.headers = [(name.replace("_", "-").encode(), value.encode())
                        for name, value in (kind | headers).items()]


Table = Mapping[tuple[str, str], Reply]


def table(replies: Table, otherwise: Reply | None = None) -> asgi.App:
    """A server that answers by method and path."""
    other = otherwise or Reply({"detail": "Not Found"}, 404)

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        reply = replies.get((scope["method"], scope["path"]), other)
        headers = [*reply.headers, (b"content-length", b"%d" % len(reply.content))]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.content})

    return app


def settled(found: discovery.Discovery) -> config.Config:
    """What the written text says, as `counterclone check` reads it."""
    read = config.parse(tomllib.loads(found.text), {}, "counterclone.toml")
    compose.check(read)
    return read


def said(found: discovery.Discovery) -> str:
    """The comments of the text as one line."""
    return " ".join(line.removeprefix("#").strip() for line in found.text.splitlines() if line.startswith("#"))


def constant(n_classes: int, **more: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def run(arrays: dict[str, Any]) -> dict[str, Any]:
        n_rows = len(next(iter(arrays.values())))
        return {"scores": np.full((n_rows, n_classes), 1 / n_classes, np.float32),
                **{name: np.full((n_rows, n_classes), value, np.float32) for name, value in more.items()}}

    return run


IMAGE = Tensor("image", "FP32", (-1, 8, 8))
SCORES = Tensor("scores", "FP32", (-1, 10))
DIGITS = Model([IMAGE], [SCORES], constant(10))
LOGITS = Model([IMAGE], [SCORES, Tensor("logits", "FP32", (-1, 10))], constant(10, logits=3.0))


def oip(models: Mapping[str, Model], index: Table | None = None, name: str = "triton") -> asgi.App:
    """The protocol's server with a list of its models."""
    server = OipServer(models, name=name)
    listed = [{"name": model, "version": "1", "state": "READY", "reason": ""} for model in models]
    replies = {("POST", "/v2/repository/index"): Reply(listed)} if index is None else index

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        known = (scope["method"], scope["path"]) in replies
        await (table(replies) if known else server)(scope, receive, send)

    return app


def mlflow(answer: Reply) -> dict[tuple[str, str], Reply]:
    return {("GET", "/ping"): Reply(b"\n"), ("GET", "/version"): Reply(b"2.14.1"),
            ("POST", "/invocations"): answer}


PREDICTIONS = {"predictions": [[0.25, 0.75]]}



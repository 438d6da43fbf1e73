from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry
from pydantic import BaseModel
from starlette.middleware.gzip import GZipMiddleware

from counterclone import Guard
from counterclone.guard import asgi
from counterclone.journal import JournalFolder

ROUNDING = """
[[guard.policy]]
kind = "rounding"
decimals = 1
"""
QUERY = {"instances": [[1.0, 2.0], [3.0, 4.0]]}


class Query(BaseModel):
    instances: list[list[float]]


class Answer(BaseModel):
    predictions: list[list[float]]
    labels: list[int]


@pytest.fixture
def api() -> FastAPI:
    """A model's API with the routes that such APIs have."""
    api = FastAPI()

    @api.post("/predict")
    def predict(query: Query) -> Answer:
        if query.instances[0] == [404.0]:
            raise HTTPException(404, "no such model")
        n_rows = len(query.instances)
        return Answer(predictions=[[0.6251, 0.2499, 0.125]] * n_rows, labels=[0] * n_rows)

    @api.post("/headers")
    async def headers(request: Request) -> dict[str, Any]:
        return {"asked": dict(request.headers), "size": len(await request.body())}

    @api.get("/health")
    def health() -> dict[str, str]:
        return {"status": "well", "pad": "x" * 2000}

    return api


Serve = Callable[[asgi.App], AbstractContextManager[httpx.Client]]


@pytest.fixture
def serve() -> Serve:
    """Serves an app over HTTP and gives a client of it."""

    @contextlib.contextmanager
    def serving(app: asgi.App) -> Iterator[httpx.Client]:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            key = {"authorization": "Bearer ann"}
            try:
                with httpx.Client(base_url=address, headers=key, timeout=10.0) as client:
                    yield client
            finally:
                server.should_exit = True
                thread.join(timeout=10.0)
        assert not thread.is_alive()

    return serving


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    """Writes settings to a file."""

    def write(settings: str) -> Path:
        path = tmp_path / "counterclone.toml"
        path.write_text(settings)
        (tmp_path / "counterclone.key").write_text("0" * 64)
        (tmp_path / "counterclone.key").chmod(0o600)
        return path

    return write


Config = Callable[[str], Path]


def decisions(path: Path) -> list[str]:
    journal = JournalFolder(path.parent / "journal")
    return [row["decision"] for batch in journal.batches() for row in batch.to_pylist()]


def test_one_line_guards_a_fastapi_app(api: FastAPI, serve: Serve, config: Config) -> None:
    path = config(ROUNDING)
    api.add_middleware(Guard, config=path, registry=CollectorRegistry())
    with serve(api) as client:
        for _ in range(2):  # on one connection
            answer = client.post("/predict", json=QUERY, headers={"x-request-id": "order-7"})
            assert answer.json() == {"predictions": [[0.6, 0.3, 0.1]] * 2, "labels": [0, 0]}
            assert answer.headers["content-length"] == str(len(answer.content))
            assert answer.headers["x-request-id"] == "order-7"
        assert client.get("/health").json()["status"] == "well"
        assert client.post("/predict", json={"instances": [[404.0]]}).json() == {"detail": "no such model"}
        assert client.post("/predict", json={"instances": [["a"]]}).status_code == 422
        assert client.post("/predict", json={"rows": []}).json()["code"] == "unknown_format"
        assert client.post("/elsewhere", json=QUERY).status_code == 404
    assert decisions(path) == ["served"] * 4 + ["failed"] * 2 + ["refused"] + ["failed"] * 2


def test_the_journal_is_closed_with_the_server(api: FastAPI, serve: Serve, config: Config) -> None:
    path = config(ROUNDING)
    api.add_middleware(Guard, config=path, registry=CollectorRegistry())
    with serve(api) as client:
        client.post("/predict", json=QUERY)
    assert list((path.parent / "journal").rglob("*.parquet"))
    assert not list((path.parent / "journal").rglob("*.arrows"))


def test_bodies_in_chunks(api: FastAPI, serve: Serve, config: Config) -> None:
    def pieces() -> Iterator[bytes]:
        yield from (b'{"instances"', b": [[1, 2]", b"]}")

    with serve(Guard(api, config(ROUNDING), registry=CollectorRegistry())) as client:
        answer = client.post("/predict", content=pieces(), headers={"content-type": "application/json"})
        assert answer.json()["predictions"] == [[0.6, 0.3, 0.1]]
        asked = client.post("/headers", content=iter([b'{"inputs": 1}'])).json()
        assert (asked["size"], asked["asked"]["content-length"]) == (13, "13")
        assert "transfer-encoding" not in asked["asked"]
        assert asked["asked"]["accept-encoding"] == "identity"


def test_a_body_of_100_megabytes_is_refused_in_bounded_memory(api: FastAPI, serve: Serve, config: Config) -> None:
    def pieces() -> Iterator[bytes]:
        piece = b"[" * (1 << 20)
        for _ in range(100):
            yield piece

    path = config(ROUNDING)
    with serve(Guard(api, path, registry=CollectorRegistry())) as client:
        client.post("/predict", json=QUERY)
        before = psutil.Process().memory_info().rss
        with contextlib.suppress(httpx.WriteError, httpx.RemoteProtocolError):  # the server may hang up
            assert client.post("/predict", content=pieces()).status_code == 413
        assert psutil.Process().memory_info().rss - before < 60_000_000
        assert client.post("/predict", json=QUERY).status_code == 200
    assert decisions(path) == ["served", "served", "refused", "served", "served"]


@pytest.mark.parametrize("is_guard_outside", [True, False])
def test_compression_works_on_either_side(api: FastAPI, serve: Serve, config: Config,
                                         is_guard_outside: bool) -> None:
    path, registry = config(ROUNDING), CollectorRegistry()
    app: Any = api
    app = (Guard(GZipMiddleware(app, minimum_size=10), path, registry=registry) if is_guard_outside
           else GZipMiddleware(Guard(app, path, registry=registry), minimum_size=10))
    with serve(app) as client:
        answer = client.post("/predict", json=QUERY)
        assert answer.json()["predictions"][0] == [0.6, 0.3, 0.1]
        assert answer.headers.get("content-encoding") == (None if is_guard_outside else "gzip")
        assert client.get("/health").headers["content-encoding"] == "gzip"


def test_events_arrive_as_they_are_sent(api: FastAPI, serve: Serve, config: Config) -> None:
    go_on = threading.Event()

    @api.post("/stream")
    def stream(query: Query) -> StreamingResponse:
        def events() -> Iterator[bytes]:
            yield b"data: 1\n\n"
            assert go_on.wait(10.0)  # the client has the first before the second is made
            yield b"data: 2\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    with (serve(Guard(api, config(""), registry=CollectorRegistry())) as client,
            client.stream("POST", "/stream", json=QUERY) as answer):
        lines = answer.iter_lines()
        assert next(lines) == "data: 1"
        go_on.set()
        assert [line for line in lines if line] == ["data: 2"]


def test_an_endless_stream_that_would_have_to_be_cleaned_is_refused(api: FastAPI, serve: Serve,
                                                                  config: Config) -> None:
    made = 0

    @api.post("/stream")
    async def stream(query: Query) -> StreamingResponse:
        async def events() -> AsyncIterator[bytes]:
            nonlocal made
            while True:
                made += 1
                yield b"data: 0.6251\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    with serve(Guard(api, config(ROUNDING), registry=CollectorRegistry())) as client:
        answer = client.post("/stream", json=QUERY)
        assert (answer.status_code, answer.json()["code"]) == (502, "answer_not_cleaned")
        assert client.get("/health").status_code == 200  # the server has time for others
        assert made == 1


def test_an_app_mounted_below_a_prefix(serve: Serve, config: Config) -> None:
    inner, outer = FastAPI(), FastAPI()

    @inner.post("/v2/models/{model}/infer")
    async def infer(model: str) -> dict[str, Any]:
        return {"outputs": [{"name": "p", "shape": [1, 2], "datatype": "FP32", "data": [0.6251, 0.3749]}]}

    path = config(ROUNDING)
    outer.mount("/api", Guard(inner, path, registry=CollectorRegistry()))
    query = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}
    with serve(outer) as client:
        answer = client.post("/api/v2/models/m/infer", json=query)
        assert answer.json()["outputs"][0]["data"] == [0.6, 0.4]


@pytest.mark.parametrize(("length", "answer", "decided"), [
    pytest.param(10, b"HTTP/1.1 400", ["refused"], id="too short"),
    pytest.param(1000, b"", [], id="too long"),
])
def test_a_content_length_that_lies(api: FastAPI, serve: Serve, config: Config, length: int, answer: bytes,
                                  decided: list[str]) -> None:
    path = config(ROUNDING)
    with serve(Guard(api, path, registry=CollectorRegistry())) as client:
        address = (client.base_url.host, client.base_url.port or 0)
        with socket.create_connection(address) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % length
                               + b'{"instances": [[1, 2]]}')
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(len(answer) or 1) == answer
        assert client.post("/predict", json=QUERY).status_code == 200
    assert decisions(path) == [*decided, "served", "served"]

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from counterclone.guard import asgi

if TYPE_CHECKING:
    from tests.guard.conftest import Build, Guarded, Model

QUERY = {"instances": [[1, 2, 3, 4]]}
ANSWER = b'{"predictions": [[0.6251, 0.2499, 0.125]], "model": "m"}'
ROUNDING = """
[[guard.policy]]
kind = "rounding"
decimals = 1
"""
EDITED = b'{"predictions":[[0.6,0.3,0.1]],"model":"m"}'
JSON = (b"content-type", b"application/json")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["/v2/health/ready", "/v2/models/m", "/docs", "/predict"])
def test_health_metadata_and_pages_pass_untouched(guarded: Build, answering: Model, method: str,
                                                  path: str) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen), ROUNDING)
    asked = [(b"accept-encoding", b"gzip")]
    reply = guard.ask(method=method, path=path, headers=asked)
    assert (reply.status, reply.body, reply.messages[0]["headers"]) == (200, ANSWER, [JSON])
    assert asked[0] in seen[0][0]["headers"]
    assert guard.exchanges() == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "post"])
def test_other_methods_are_no_way_around(guarded: Build, answering: Model, method: str) -> None:
    assert guarded(answering(ANSWER), ROUNDING).ask(QUERY, method=method).status == 400


@pytest.mark.parametrize(("path", "is_guarded"), [
    ("/predict", True), ("/v1/models/m:predict", True), ("/feedback", False), ("/predict/x", False),
    ("/predict.json", False), ("/", False), ("/health.d/x", False), ("/.well-known/x", False), ("/modèle", False),
    # what another server may read as a guarded path
    ("/predict/", True), ("/PREDICT", True), ("//predict", True), ("//v1/models/m:predict", True),
    ("/x/../predict", True), ("/./predict", True), ("/predict/.", True), ("/predict.", True), ("/predict ", True),
    ("/predict;a=b", True), ("/x;/predict", True), ("\\predict", True), ("/x\\..\\predict", True),
    ("/%70redict", True), ("/%2e%2e/predict", True), ("/predict\0", True), ("/predict\n", True),
    ("/\ufffdpredict", True),
])
def test_only_the_named_paths_are_guarded(guarded: Build, answering: Model, path: str, is_guarded: bool) -> None:
    settings = 'guard.paths = ["/predict", "/v1/models/*"]\n' + ROUNDING
    assert guarded(answering(ANSWER), settings).ask(QUERY, path=path).body == (EDITED if is_guarded else ANSWER)


@pytest.mark.parametrize(("path", "root_path"), [
    ("/api/v2/models/credit/infer", "/api"), ("/v2/models/credit/infer", "/api"),
    ("/v2/models/credit/infer", "/v"),
    ("/v2/models/credit/infer", ""),
])
def test_an_app_below_a_prefix_is_guarded_by_its_own_paths(guarded: Build, answering: Model, path: str,
                                                          root_path: str) -> None:
    answer = b'{"outputs": [{"name": "s", "shape": [1, 3], "datatype": "FP32", "data": [0.6251, 0.2499, 0.125]}]}'
    query = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}
    guard = guarded(answering(answer), 'guard.paths = ["/v2/*"]\n' + ROUNDING)
    reply = guard.ask(query, path=path, root_path=root_path)
    assert reply.json["outputs"][0]["data"] == [0.6, 0.3, 0.1]
    (row,) = guard.exchanges()
    assert (row["dialect"], row["model"]) == ("oip", "credit")


@pytest.mark.parametrize("raw_path", [b"/x%2Fpredict", b"/x%2fpredict", b"/x%5Cpredict", b"/x%5cpredict"])
def test_a_step_that_is_escaped_may_be_one(guarded: Build, answering: Model, raw_path: bytes) -> None:
    path = unquote(raw_path.decode())
    guard = guarded(answering(ANSWER), 'guard.paths = ["/predict"]\n' + ROUNDING)
    assert guard.ask(QUERY, path=path, raw_path=raw_path).body == EDITED


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(("length", "status"), [(b"0", 200), (b"5", 400), (None, 400)])
def test_a_body_makes_any_method_a_request_for_a_model(guarded: Build, answering: Model, method: str,
                                                       length: bytes | None, status: int) -> None:
    header = (b"transfer-encoding", b"chunked") if length is None else (b"content-length", length)
    reply = guarded(answering(ANSWER), ROUNDING).ask(method=method, headers=[header])
    assert reply.status == status


@pytest.mark.parametrize("name", [b"authorization", b"content-type", b"content-encoding", b"host",
                                  b"inference-header-content-length"])
def test_a_header_of_which_apps_read_the_first_or_the_last_comes_once(guarded: Build, answering: Model,
                                                                      name: bytes) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen), ROUNDING)
    reply = guard.ask(QUERY, headers=[(name, b"identity"), (name, b"identity")])
    assert (reply.status, reply.json["code"], seen) == (400, "invalid_request", [])
    assert name.decode() in reply.json["error"]
    assert guard.decisions() == ["refused"]


def test_paths_may_be_named_with_their_prefix(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), 'guard.paths = ["/api/predict"]\n' + ROUNDING)
    assert guard.ask(QUERY, path="/api/predict", root_path="/api").body == EDITED


def test_a_websocket_passes_through(guarded: Build) -> None:
    heard: list[object] = []

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        heard.extend([scope, receive, send])

    async def receive() -> asgi.Message:
        return {"type": "websocket.connect"}

    async def send(message: asgi.Message) -> None:
        pass

    scope: dict[str, Any] = {"type": "websocket", "path": "/predict", "headers": []}
    asyncio.run(guarded(app, ROUNDING).guard(scope, receive, send))
    assert heard == [scope, receive, send]


async def live(guard: Guarded) -> list[tuple[str, bool]]:
    """A server's lifespan with one request in it; what the server was told, and if the journal was closed then."""
    told: list[tuple[str, bool]] = []
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> asgi.Message:
        return next(messages)

    async def send(message: asgi.Message) -> None:
        told.append((message["type"], any((guard.folder / "journal").rglob("*.parquet"))))
        if message["type"] == "lifespan.startup.complete":
            await guard.send(QUERY)

    await guard.guard({"type": "lifespan"}, receive, send)
    return told


async def answer(send: asgi.Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
    await send({"type": "http.response.body", "body": ANSWER})


@pytest.mark.parametrize("kind", ["complete", "failed"])
def test_the_journal_is_on_the_disk_before_the_server_hears_of_the_shutdown(guarded: Build, kind: str) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "http":
            await answer(send)
            return
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await send({"type": f"lifespan.shutdown.{kind}"})

    guard = guarded(app, ROUNDING)
    assert asyncio.run(live(guard)) == [("lifespan.startup.complete", False), (f"lifespan.shutdown.{kind}", True)]
    assert guard.decisions() == ["served"]


@pytest.mark.parametrize("raises", [True, False])
def test_an_app_without_a_lifespan_loses_no_row_at_the_shutdown(guarded: Build, raises: bool) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "http":
            await answer(send)
        elif raises:
            raise ValueError("this app can only handle HTTP")

    guard = guarded(app, ROUNDING)
    assert asyncio.run(live(guard)) == [("lifespan.startup.complete", False), ("lifespan.shutdown.complete", True)]
    assert guard.decisions() == ["served"]


def test_an_app_that_fails_to_start_is_the_servers_business(guarded: Build) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await receive()
        raise ConnectionError("no database")

    with pytest.raises(ConnectionError, match="no database"):
        asyncio.run(live(guarded(app, ROUNDING)))


def test_without_a_journal_the_lifespan_passes_too(guarded: Build) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "http":
            await answer(send)
            return
        await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})

    told = asyncio.run(live(guarded(app, "journal.path = ''")))
    assert [kind for kind, _ in told] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

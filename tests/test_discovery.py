from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from counterclone import compose, config, discovery
from counterclone.discovery import site
from counterclone.discovery.apis import Api
from counterclone.discovery.scores import Scores
from counterclone.discovery.settings import text
from counterclone.errors import ConfigError, TargetUnreachable
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


# Open Inference Protocol

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


def test_a_triton_server_is_known_by_its_address() -> None:
    with serving(oip({"digits": DIGITS})) as served:
        found = discovery.probe(served.url)
    read = settled(found)
    assert (read.target.url, read.target.dialect, read.target.scores) == (served.url, "oip", "scores")
    assert read.guard.paths == ("*",)
    assert found.scores.classes == 10
    assert found.api.server == "triton 2.0"
    (path, query), = served.queries
    assert path == "/v2/models/digits/infer"
    assert query == {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 8, 8], "data": [0.0] * 64}]}
    assert "Model 'digits' takes 'image' FP32 [-1, 8, 8] and gives 'scores' FP32 [-1, 10]." in said(found)
    assert "the probabilities of 10 classes in 'scores'" in said(found)
    assert "An answer then holds at most 42 bits instead of 576." in said(found)


@pytest.mark.parametrize(("name", "parts"), [
    ("triton", ["port 8001", "8002", "--grpc-address=127.0.0.1", "--allow-grpc=false"]),
    ("mlserver", ["port 8081", "MLSERVER_HOST=127.0.0.1"]),
    ("kserve", ["port 8081", "--enable_grpc=false"]),
    ("other", ["gRPC on another port"]),
])
def test_the_ways_round_the_guard_are_told(name: str, parts: list[str]) -> None:
    with serving(oip({"digits": DIGITS}, name=name)) as served:
        found = discovery.probe(served.url)
    warning, = found.api.warnings
    assert "BYPASSES THE GUARD" in warning
    assert all(part in warning for part in parts)
    assert f"WARNING: {warning}" in said(found)
    read = settled(found)
    ports = {int(address.rpartition(":")[2]) for address in (read.guard.listen, read.guard.admin)}
    assert not ports & {8001, 8002, 8081, 8082, int(served.url.rpartition(":")[2])} & set(found.api.ports)


@pytest.mark.parametrize("path", ["/v2/models/digits", "/v2/models/digits/infer", "/v2/models/digits/ready"])
def test_a_model_may_be_named(path: str) -> None:
    with serving(oip({"digits": DIGITS}, {})) as served:
        read = settled(discovery.probe(served.url + path))
    assert (read.target.url, read.target.scores, read.guard.paths) == (served.url, "scores", ("*",))


def test_a_version_may_be_named() -> None:
    with serving(oip({"digits": DIGITS._replace(versions=("1", "7"))}, {})) as served:
        assert discovery.probe(f"{served.url}/v2/models/digits/versions/1/infer").scores.classes == 10
    assert [path for path, _ in served.queries] == ["/v2/models/digits/versions/1/infer"]


def test_a_prefix_is_kept() -> None:
    server = OipServer({"digits": DIGITS})

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await server({**scope, "path": scope["path"].removeprefix("/serving/a")}, receive, send)

    with serving(app) as served:
        found = discovery.probe(f"{served.url}/serving/a/v2/models/digits/infer")
        assert settled(found).target.url == f"{served.url}/serving/a"
    assert found.scores.classes == 10


def test_kserve_lists_its_models_elsewhere() -> None:
    with serving(oip({"digits": DIGITS}, {})) as served:
        assert discovery.probe(served.url).scores.name == "scores"


def test_a_server_that_lists_nothing_is_told_how_to_name_a_model() -> None:
    with serving(oip({"digits": DIGITS}, {("GET", "/v2/models"): Reply({"error": "Not Found"}, 404)})) as served:
        found = discovery.probe(served.url)
    assert settled(found).target.dialect == "oip"
    assert served.queries == []
    assert f"`counterclone init {served.url}/v2/models/NAME`" in said(found)


@pytest.mark.parametrize("path", ["", "/v2/models/b"])
def test_the_output_of_one_model_is_not_that_of_all(path: str) -> None:
    with serving(oip({"b": DIGITS, "a": DIGITS})) as served:
        found = discovery.probe(served.url + path)
    assert settled(found).target.scores == ""
    assert found.scores.classes == 10
    assert "Models: a, b; 'a'" in said(found) if not path else "Models: b, a; 'b'" in said(found)


def test_models_that_are_not_ready_are_left_out() -> None:
    index = Reply([{"name": "broken", "state": "UNAVAILABLE", "reason": "no weights"},
                   {"name": "digits", "state": "READY"}, {"name": 3}, "text"])
    with serving(oip({"digits": DIGITS}, {("POST", "/v2/repository/index"): index,
                                          ("GET", "/v2/health/ready"): Reply(status=400)})) as served:
        found = discovery.probe(served.url)
    assert settled(found).target.scores == "scores"
    assert "It says that it isn't ready." in said(found)


def test_logits_beside_the_probabilities_are_told() -> None:
    with serving(oip({"digits": LOGITS})) as served:
        found = discovery.probe(served.url)
    warning, = found.scores.warnings
    assert "output 'logits' holds the logits" in warning
    assert (found.scores.name, found.scores.classes) == ("scores", 10)
    assert f"WARNING: {warning}" in said(found)


@pytest.mark.parametrize(("inputs", "data"), [
    ([Tensor("x", "BYTES", (-1, 1)), Tensor("n", "INT64", (-1,)), Tensor("b", "BOOL", (1, 2))],
     [[""], [0], [False, False]]),
    ([Tensor("x", "FP16", (4,))], [[0.0] * 4]),
])
def test_every_datatype_has_its_zero(inputs: list[Tensor], data: list[list[object]]) -> None:
    model = Model(inputs, [SCORES], lambda arrays: {"scores": np.full((1, 10), 0.1, np.float32)})
    with serving(oip({"m": model})) as served:
        discovery.probe(served.url)
    (_, query), = served.queries
    assert [tensor["data"] for tensor in query["inputs"]] == data


@pytest.mark.parametrize("inputs", [
    [], None, "x", [3], [{"name": "x", "datatype": "FP32"}], [{"name": "x", "datatype": "FP32", "shape": []}],
    [{"name": 1, "datatype": "FP32", "shape": [1]}], [{"name": "x", "datatype": None, "shape": [1]}],
    [{"name": "x", "datatype": "FP32", "shape": [-1, 10**12]}],
    [{"name": "x", "datatype": "FP32", "shape": [2**62] * 1000}],
    [{"name": f"x{i}", "datatype": "FP32", "shape": [999_999]} for i in range(2)],
], ids=str)
def test_a_model_that_cannot_be_asked_is_not(inputs: object) -> None:
    replies = {("GET", "/v2"): Reply({"name": "s", "version": "1"}),
               ("GET", "/v2/models/m"): Reply({"name": "m", "inputs": inputs, "outputs": [{"name": "y"}]})}
    with serving(table(replies)) as served:
        read = settled(discovery.probe(f"{served.url}/v2/models/m"))
    assert (read.target.dialect, read.target.scores) == ("oip", "")
    assert served.queries == []


# TensorFlow Serving

def dims(*sizes: str) -> dict[str, Any]:
    return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": size} for size in sizes]}}


def tensorflow(inputs: object, answer: object) -> dict[tuple[str, str], Reply]:
    signature = {"serving_default": {"inputs": inputs, "outputs": {"probabilities": dims("-1", "3")}}}
    return {
        ("GET", "/"): Reply({"error": "Malformed request: GET /"}, 404),
        ("GET", "/v1/models/iris"): Reply({"model_version_status": [{"version": "1", "state": "AVAILABLE"}]}),
        ("GET", "/v1/models/iris/metadata"): Reply({
            "model_spec": {"name": "iris"}, "metadata": {"signature_def": {"signature_def": signature}}}),
        ("POST", "/v1/models/iris:predict"): Reply(answer),
    }


@pytest.mark.parametrize(("inputs", "row"), [
    ({"x": dims("-1", "4")}, [0.0] * 4),
    ({"x": dims("-1", "2", "3")}, [[0.0] * 3] * 2),
    ({"x": dims("-1")}, 0.0),
    ({"a": dims("-1", "1"), "b": {**dims("-1", "2"), "dtype": "DT_INT64"}}, {"a": [0.0], "b": [0, 0]}),
    ({"x": {"dtype": "DT_STRING", "tensor_shape": {"unknown_rank": True}}}, ""),
    ({}, [0.0]), (None, [0.0]),
], ids=str)
@pytest.mark.parametrize("path", ["/v1/models/iris", "/v1/models/iris:predict"])
def test_a_model_of_tensorflow_serving(inputs: object, row: object, path: str) -> None:
    with serving(table(tensorflow(inputs, {"predictions": [[0.2, 0.3, 0.5]]}))) as served:
        found = discovery.probe(served.url + path)
    read = settled(found)
    assert (read.target.url, read.target.dialect, read.target.scores) == (served.url, "predict", "predictions")
    assert (read.guard.paths, found.scores.classes) == (("*",), 3)
    assert served.queries == [("/v1/models/iris:predict", {"instances": [row]})]
    assert "port 8500" in found.api.warnings[0]
    assert "gives probabilities." in said(found)


def test_tensorflow_serving_lists_no_models() -> None:
    with serving(table(tensorflow({}, {}))) as served:
        found = discovery.probe(served.url)
    assert settled(found).target.dialect == "predict"
    assert f"`counterclone init {served.url}/v1/models/NAME`" in said(found)


@pytest.mark.parametrize("dim", [["99999999"] * 3, ["2"] * 17])
def test_a_row_that_is_too_large_is_not_asked(dim: list[str]) -> None:
    with serving(table(tensorflow({"x": dims("-1", *dim)}, {}))) as served:
        assert settled(discovery.probe(f"{served.url}/v1/models/iris")).target.scores == ""
    assert served.queries == []


# FastAPI

class Rows(BaseModel):
    instances: list[list[float]]


class Example(BaseModel):
    inputs: list[list[float]] = Field(examples=[[[1.0, 2.0]]])


class Flower(BaseModel):
    width: float
    colour: str


class Flowers(BaseModel):
    dataframe_records: list[Flower]
    session: str = "none"
    n_best: int


class Wide(BaseModel):
    instances: list[list[float]] = Field(json_schema_extra={
        "items": {"type": "array", "items": {"type": "number"}, "minItems": 64}})


PREDICTIONS = {"predictions": [[0.25, 0.75]]}


def api(model: type[BaseModel], path: str = "/predict") -> FastAPI:
    made = FastAPI(title="Digits", version="3")

    async def predict(request: Request) -> dict[str, Any]:
        model.model_validate_json(await request.body())
        return PREDICTIONS

    made.add_api_route(path, predict, methods=["POST"], openapi_extra={"requestBody": {"content": {
        "application/json": {"schema": model.model_json_schema(ref_template="#/components/schemas/{model}")}}}})
    definitions = model.model_json_schema().get("$defs", {})
    described = made.openapi()
    described.setdefault("components", {}).setdefault("schemas", {}).update(definitions)
    return made


@pytest.mark.parametrize(("model", "query"), [
    (Rows, {"instances": [[0.0]]}),
    (Example, {"inputs": [[1.0, 2.0]]}),
    (Flowers, {"dataframe_records": [{"width": 0.0, "colour": ""}], "n_best": 0}),
    (Wide, {"instances": [[0.0] * 64]}),
], ids=lambda value: getattr(value, "__name__", ""))
def test_an_app_is_asked_by_its_schema(model: type[BaseModel], query: object) -> None:
    with serving(api(model)) as served:
        found = discovery.probe(served.url)
    read = settled(found)
    assert (read.target.url, read.target.dialect, read.target.scores) == (served.url, "predict", "predictions")
    assert served.queries == [("/predict", query)]
    assert (found.api.server, found.scores.classes, read.guard.paths) == ("Digits 3", 2, ("*",))


def plain(*others: str) -> FastAPI:
    """An app as people write it, with other routes that take a body."""
    made = FastAPI()

    @made.post("/predict")
    def predict(rows: Rows) -> dict[str, Any]:
        return PREDICTIONS

    for path in others:
        made.post(path)(lambda text: {})
    return made


def test_other_routes_that_take_a_body_are_left_out_and_told() -> None:
    with serving(plain("/feedback", "/login")) as served:
        found = discovery.probe(served.url)
    assert settled(found).guard.paths == ("/predict",)
    assert "Other routes that take a body: /feedback, /login." in said(found)


def test_an_endpoint_of_an_app() -> None:
    app = FastAPI()
    for path in ("/predict/many", "/predict"):
        app.include_router(plain().router, prefix=path.removesuffix("/predict"))
    with serving(app) as served:
        found = discovery.probe(f"{served.url}/predict/")
    read = settled(found)
    assert (read.target.url, read.guard.paths) == (served.url, ("/predict",))
    assert [path for path, _ in served.queries] == ["/predict"]
    assert "Other routes that take a body: /predict/many/predict." in said(found)


@pytest.mark.parametrize(("path", "url", "paths"), [
    ("", "", ("*",)), ("/api", "/api", ("*",)), ("/api/v1", "/api/v1", ("*",)),
    ("/api/v1/predict", "", ("/api/v1/predict",))])
@pytest.mark.parametrize("is_mounted", [False, True], ids=["router", "mounted"])
def test_a_prefix_of_an_app(path: str, url: str, paths: tuple[str, ...], is_mounted: bool) -> None:
    app = FastAPI()
    if is_mounted:
        app.mount("/api/v1", plain())
    else:
        router = APIRouter(prefix="/api/v1")
        router.include_router(plain().router)
        app.include_router(router)
    with serving(app) as served:
        read = settled(discovery.probe(served.url + path))
    if is_mounted and path in ("", "/api"):  # the app outside doesn't describe what is mounted in it
        assert read.target.dialect == "auto"
    else:
        assert (read.target.url, read.guard.paths, read.target.scores) == (served.url + url, paths, "predictions")


def test_parameters_of_a_path_are_patterns() -> None:
    with serving(api(Rows, "/models/{name}/[beta]/predict")) as served:
        found = discovery.probe(f"{served.url}/models")
    assert served.queries == []  # nobody knows a name
    assert settled(found).guard.paths == ("*",)
    assert "Routes that take queries: /{name}/[beta]/predict." in said(found)


def test_a_model_in_a_path_may_be_named() -> None:
    app = FastAPI()

    @app.post("/models/{name}/[beta]/predict")
    def predict(name: str, rows: Rows) -> dict[str, Any]:
        return PREDICTIONS

    app.post("/feedback")(lambda text: {})
    with serving(app) as served:
        read = settled(discovery.probe(f"{served.url}/models/digits/[beta]/predict"))
    assert (read.target.scores, read.guard.paths) == ("predictions", ("/models/digits/[[]beta]/predict",))
    assert [path for path, _ in served.queries] == ["/models/digits/[beta]/predict"]
    with serving(app) as served:
        read = settled(discovery.probe(served.url))
    assert (read.target.scores, read.guard.paths) == ("", ("/models/*/[[]beta]/predict",))
    assert served.queries == []


@pytest.mark.parametrize("schema", [
    {"$ref": "#/components/schemas/Loop"},
    {"properties": {"instances": {"$ref": "#/components/schemas/Loop"}}},
    {"properties": {"instances": {"anyOf": [{"$ref": "#/components/schemas/Wide"}] * 20}}},
    {"properties": {"instances": {"$ref": "#/components/schemas/Wide"}}},
    {"properties": {"instances": {"type": "array", "minItems": 10**15, "items": {
        "type": "array", "minItems": 10**9, "items": {"type": "number"}}}}},
    {"properties": {"instances": {"type": "array", "minItems": 9000, "items": {
        "type": "array", "minItems": 9000, "items": {"type": "number"}}}}},
    {"properties": {"instances": {"type": ["array"], "items": 3}}, "required": [[], {}, 3]},
    {"properties": {"instances": {"$ref": "#" + "/a" * 100_000}}},
    {"properties": {"instances": True}}, {"properties": []}, [], None,
], ids=lambda schema: str(schema)[:40])
def test_a_strange_schema_does_no_harm(schema: object) -> None:
    wide = {"type": "object", "required": [f"f{i}" for i in range(50)], "properties": {
        f"f{i}": {"$ref": "#/components/schemas/Wide"} for i in range(50)}}
    schemas = {"Loop": {"$ref": "#/components/schemas/Loop"}, "Wide": wide}
    document = {"paths": {"/predict": {"post": {"requestBody": {"content": {"application/json": {
        "schema": schema}}}}}}, "components": {"schemas": schemas}}
    started = time.monotonic()
    with serving(table({("GET", "/openapi.json"): Reply(document)})) as served:
        settled(discovery.probe(served.url))
    assert time.monotonic() - started < 5.0
    assert all(len(orjson.dumps(query)) < 1 << 20 for _, query in served.queries)


# MLflow

def mlflow(answer: Reply) -> dict[tuple[str, str], Reply]:
    return {("GET", "/ping"): Reply(b"\n"), ("GET", "/version"): Reply(b"2.14.1"),
            ("POST", "/invocations"): answer}


@pytest.mark.parametrize("path", ["", "/invocations"])
def test_a_scoring_server_of_mlflow(path: str) -> None:
    with serving(table(mlflow(Reply({"predictions": [[0.4, 0.6]]})))) as served:
        found = discovery.probe(served.url + path)
    read = settled(found)
    assert (read.target.url, read.target.dialect, read.target.scores) == (served.url, "predict", "predictions")
    assert (found.api.server, read.guard.paths) == ("MLflow 2.14.1", ("*",))
    assert served.queries == [("/invocations", {"instances": [[0.0]]})]


def test_what_the_model_says_of_a_query_is_told() -> None:
    refusal = Reply({"message": "X has 1 features,\nbut the model expects 4\x1b[31m"}, 400)
    with serving(table(mlflow(refusal))) as served:
        found = discovery.probe(served.url)
    assert settled(found).target.dialect == "predict"
    assert "was answered 400" in said(found)
    assert "the model expects 4" in said(found)
    assert found.text.isascii()
    assert "\x1b" not in found.text


def test_ping_alone_is_not_mlflow() -> None:
    with serving(table({("GET", "/ping"): Reply(b"pong"), ("GET", "/version"): Reply(b"<html>")})) as served:
        assert settled(discovery.probe(served.url)).target.dialect == "auto"


# What answers hold

@pytest.mark.parametrize(("answer", "name", "classes", "told"), [
    ([[0.25, 0.75]], "", 2, "the probabilities of 2 classes."),
    ({"predictions": [{"label": "cat", "probs": [0.5, 0.5]}]}, "predictions.probs", 2, "in 'predictions.probs'"),
    ({"predictions": [{"cat": 0.5, "dog": 0.25, "owl": 0.25}]}, "predictions.*", 3, "3 classes"),
    ({"a": [[0.5, 0.5]], "b": [[0.1, 0.9]]}, "", 2, "Several outputs hold probabilities: a, b"),
    ({"predictions": [[0.33, 0.33, 0.33]]}, "predictions", 3, "nearly probabilities"),
    ({"predictions": [[0.875]]}, "predictions", 2, "the probability of the positive class"),
    ({"predictions": [{"p": 0.875}]}, "predictions.p", 2, "the probability of the positive class"),
    ({"predictions": [3]}, "", None, "no scores, only labels or text"),
    ({"label": "cat"}, "", None, "no scores, only labels or text"),
    ({"predictions": [1.0]}, "", None, "no rows of probabilities"),
    ({"predictions": [[2.5, -1.0]]}, "", None, "no rows of probabilities"),
    ({"predictions": [[0.5, 0.5]], "logits": [[2.0, 2.0]]}, "predictions", 2, "output 'logits' holds the logits"),
    ({"predictions": [{"p": [0.5, 0.5], "z": [2.0, 2.0]}]}, "", None, "holds the logits"),
], ids=str)
def test_scores_are_found_as_the_guard_finds_them(answer: object, name: str, classes: int | None,
                                                  told: str) -> None:
    with serving(table(mlflow(Reply(answer)))) as served:
        found = discovery.probe(served.url)
    assert (settled(found).target.scores, found.scores.classes) == (name, classes)
    assert told in said(found)


@pytest.mark.parametrize("reply", [
    Reply(b"<html>", content_type="text/html"), Reply(b"", content_type="application/json"),
    Reply(b"{", content_type="application/json"), Reply(b"[" * 100_000, content_type="application/json"),
    Reply(gzip.compress(b'{"predictions": [[0.5, 0.5]]}'), content_type="application/json",
          content_encoding="gzip"),
    Reply(b'{"predictions": [[NaN, 0.5]]}', content_type="application/json"),
    Reply({"predictions": [[0.5, 0.5]], "pad": "x" * (2 << 20)}),
], ids=["html", "empty", "cut", "deep", "gzip", "nan", "long"])
def test_an_answer_that_cannot_be_read_shows_nothing(reply: Reply) -> None:
    with serving(table(mlflow(reply))) as served:
        found = discovery.probe(served.url)
    assert (settled(found).target.scores, found.scores.classes) == ("", None)


# Endpoints that nothing describes

def test_an_endpoint_is_asked_what_it_is() -> None:
    with serving(table({("POST", "/v7/score"): Reply(PREDICTIONS)})) as served:
        found = discovery.probe(f"{served.url}/v7/score")
    read = settled(found)
    assert (read.target.url, read.target.dialect, read.target.scores) == (served.url, "predict", "predictions")
    assert read.guard.paths == ("/v7/score",)
    assert served.queries == [("/v7/score", {"instances": [[0.0]]})]


def test_the_root_may_be_the_endpoint() -> None:
    replies = {("GET", "/"): Reply(status=405), ("POST", "/"): Reply(PREDICTIONS)}
    with serving(table(replies)) as served:
        read = settled(discovery.probe(served.url))
    assert (read.target.dialect, read.guard.paths) == ("predict", ("/",))


@pytest.mark.parametrize(("reply", "path", "url", "paths"), [
    (Reply({"detail": "no"}, 422), "/score", "", ("/score",)),
    (Reply(b"broken", 500), "/score", "", ("/score",)),
    (Reply(b"nothing", 404), "/score", "/score", ("*",)),
    (Reply(b"<html>", content_type="text/html"), "", "", ("*",)),
    (Reply(b"broken", 500), "", "", ("*",)),
    (Reply(b"\xff\x00garbage", content_type="application/json"), "", "", ("*",)),
    (Reply([1, {"name": 3}]), "", "", ("*",)),
    (Reply(b"[" * 5000, content_type="application/json"), "", "", ("*",)),
    (Reply(b"7" * (3 << 20), content_type="application/json"), "", "", ("*",)),
    (Reply({"name": "s", "paths": {"/a": 3}, "models": {}}), "", "", ("*",)),
], ids=["422", "500 path", "404 path", "html", "500", "garbage", "list", "deep", "long", "object"])
def test_another_server_gets_a_file_for_any_format(reply: Reply, path: str, url: str,
                                                   paths: tuple[str, ...]) -> None:
    with serving(table({}, reply)) as served:
        found = discovery.probe(served.url + path)
    read = settled(found)
    assert (read.target.url, read.target.dialect, read.guard.paths) == (served.url + url, "auto", paths)
    assert "Its format isn't known" in found.api.warnings[0]
    assert "Tried: GET" in said(found)
    assert f"GET /v2 ({reply.status})" in said(found) or path


def test_redirects_are_told_and_not_followed() -> None:
    with serving(table({}, Reply(PREDICTIONS))) as other:
        moved = Reply(status=307, location=f"{other.url}/elsewhere")
        with serving(table({}, moved)) as served:
            found = discovery.probe(f"{served.url}/score")
        assert other.asked == []
    assert f"It redirects to '{other.url}/elsewhere'" in said(found)
    assert settled(found).target.dialect == "auto"


def test_a_key_that_is_asked_for_is_told() -> None:
    with serving(table({}, Reply({"error": "no key"}, 401))) as served:
        assert "It asks for a key" in said(discovery.probe(served.url))


# Servers that don't answer

@pytest.mark.parametrize(("url", "message"), [
    ("", "URL is empty"), ("localhost:9000", "expected an address such as"), ("ftp://h/", "expected an address"),
    ("http://me:secret@h/", "without user"), ("http://h:99999", "expected an address"),
])
def test_an_address_that_is_none(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        discovery.probe(url)


def test_nobody_there() -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TargetUnreachable, match=f"{url}: .*refused; expected a model server"):
            discovery.probe(url)


def test_no_such_host() -> None:
    with pytest.raises(TargetUnreachable, match=r"^http://nowhere\.invalid: .+; expected a model server"):
        discovery.probe("http://nowhere.invalid")


@pytest.mark.parametrize("greeting", [
    b"SSH-2.0-OpenSSH_9.6\r\n", b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
], ids=["ssh", "nothing", "cut"])
def test_another_protocol(greeting: bytes) -> None:
    with (listening(lambda connection: connection.sendall(greeting)) as url,
          pytest.raises(TargetUnreachable, match=r"it doesn't answer as HTTP has it|reset")):
        discovery.probe(url)


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["silent", "drips"])
def test_no_answer_in_time(first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "REQUEST_SECONDS", 0.4)
    is_over = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        while first and not is_over.wait(0.05):
            connection.sendall(b"a: b\r\n")
        is_over.wait(5)

    with listening(answer) as url:
        with pytest.raises(TargetUnreachable, match="no answer within 0 seconds"):
            discovery.probe(url)
        is_over.set()


def test_a_server_that_falls_silent_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "REQUEST_SECONDS", 0.4)
    monkeypatch.setattr(site, "ALL_SECONDS", 1.0)
    n_answers = iter([True])
    is_over = threading.Event()

    def answer(connection: socket.socket) -> None:
        if next(n_answers, False):
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        else:
            is_over.wait(0.5)

    started = time.monotonic()
    with listening(answer) as url:
        found = discovery.probe(url)
        is_over.set()
    assert time.monotonic() - started < 4.0
    assert settled(found).target.dialect == "auto"
    assert "GET /v2 (no answer)" in said(found)


# The text

WORDS = st.text(max_size=40)
APIS = st.builds(
    Api, dialect=st.sampled_from(["oip", "predict", "auto"]),
    url=st.sampled_from(["http://127.0.0.1:8000", "https://h/a%20b", "http://[::1]:8001/x"]), server=WORDS,
    paths=st.lists(WORDS, min_size=1, max_size=3).map(tuple), about=st.lists(WORDS, max_size=3).map(tuple),
    warnings=st.lists(WORDS, max_size=2).map(tuple), ports=st.just((8100, 8201)), is_alone=st.booleans())
FOUND = st.builds(Scores, name=WORDS, classes=st.none() | st.integers(2, 5000), about=st.lists(WORDS).map(tuple))


@given(APIS, FOUND)
def test_whatever_a_server_says_stays_in_its_place(api: Api, scores: Scores) -> None:
    """Nothing that a server names can become a setting, and what becomes one reads back as it was."""
    written = text(api, scores, ["GET / (200)"])
    read = config.parse(tomllib.loads(written), {}, "text")
    compose.check(read)
    expected = config.parse({
        "target": {"url": api.url, "dialect": api.dialect, "scores": scores.name if api.is_alone else ""},
        "guard": {"paths": list(api.paths), "listen": read.guard.listen, "admin": read.guard.admin,
                  "policy": [{"kind": "rounding", "decimals": 2}]}}, {}, "text")
    assert read == expected
    ports = {int(address.rpartition(":")[2]) for address in (read.guard.listen, read.guard.admin)}
    assert len(ports - {8000, 8001, 8100, 8201} if "800" in api.url else ports) == 2


@given(APIS, FOUND)
def test_the_text_fits_a_screen(api: Api, scores: Scores) -> None:
    lines = text(api, scores, ["GET / (200)"]).splitlines()
    assert all(len(line) <= 100 for line in lines if line.startswith("#"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2**40, 2**40) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["name", "version", "inputs", "outputs", "datatype", "shape", "data", "paths", "post",
                         "models", "error", "predictions", "instances", "schema", "properties", "$ref", "items"]),
        inner, max_size=5), max_leaves=25)


@pytest.fixture(scope="module")
def changing() -> Iterator[tuple[dict[str, Reply], str]]:
    """A server whose answer to everything can be changed."""
    current: dict[str, Reply] = {}

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await table({}, current["reply"])(scope, receive, send)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield current, f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@given(VALUES, st.sampled_from(["", "/v2/models/m", "/v1/models/m", "/x"]))
@settings(max_examples=60)
def test_any_answer_ends_in_a_file(changing: tuple[dict[str, Reply], str], value: object, path: str) -> None:
    current, url = changing
    current["reply"] = Reply(value)
    settled(discovery.probe(url + path))


def test_the_same_server_gets_the_same_text() -> None:
    with serving(oip({"digits": DIGITS})) as served:
        first = discovery.probe(served.url).text
        served.asked.clear()
        assert discovery.probe(served.url).text == first


# Files

def test_a_file_in_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; name a file that can be written"):
        discovery.save("", tmp_path / "missing" / "counterclone.toml", write=False)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory; name a file"):
        discovery.save("", tmp_path, write=True)


def test_a_file_that_was_kept_is_never_lost(tmp_path: Path) -> None:
    path = tmp_path / "counterclone.toml"
    path.write_text("mine")
    assert discovery.save("new\n", path, write=True)[0]
    with pytest.raises(ConfigError, match=r"counterclone\.toml\.bak: is in the way"):
        discovery.save("newer\n", path, write=True)
    assert path.read_text() == "new\n"
    assert path.with_name("counterclone.toml.bak").read_text() == "mine"
    assert discovery.save("new\n", path, write=True) == (False, "")

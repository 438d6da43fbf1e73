from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel, Field
from tests.discovery.servers import (
    PREDICTIONS,
    Reply,
    said,
    serving,
    settled,
    table,
)

from counterclone import discovery


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

from __future__ import annotations

import numpy as np
import pytest
from tests.discovery.servers import (
    DIGITS,
    LOGITS,
    SCORES,
    Reply,
    oip,
    said,
    serving,
    settled,
    table,
)

from counterclone import discovery
from counterclone.guard import asgi
from counterclone.testing.oip_server import Model, OipServer, Tensor


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

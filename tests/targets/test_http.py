from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from counterclone.errors import ConfigError, TargetError, TargetUnreachable
from counterclone.targets import http

if TYPE_CHECKING:
    from tests.targets.conftest import Api

INPUTS = np.array([[0.25, 3.0], [0.5, -1.0], [0.125, 1e-300]])
ROWS = [[0.25, 0.75], [0.5, 0.5], [0.125, 0.875]]


@pytest.fixture(autouse=True)
def fixture_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_WAIT_SECONDS", 0.001)


def test_numbers_are_asked_and_answered_to_the_bit(api: Api) -> None:
    reply, = api.ask(INPUTS)
    assert reply.rows.tolist() == ROWS
    assert (reply.logits, reply.ids) == (None, None)
    assert api.asked == [{"instances": INPUTS.tolist()}]


def test_texts_are_asked(api: Api) -> None:
    reply, = api.ask(["a" * 25, "é" * 50])
    assert reply.rows.tolist() == ROWS[:2]
    assert api.asked == [{"instances": ["a" * 25, "é" * 50]}]


def test_a_key_is_sent_as_a_bearer_key(api: Api) -> None:
    api.ask(INPUTS, api_key="cc_live_1")
    assert api.headers["authorization"] == "Bearer cc_live_1"
    api.ask(INPUTS)
    assert "authorization" not in api.headers


# What is tried again

@pytest.mark.parametrize("step", [429, 502, 503, 504, "drop"], ids=str)
def test_what_was_not_answered_is_asked_again(api: Api, step: Any) -> None:
    api.steps = [step, step]
    reply, = api.ask(INPUTS[:1])
    assert reply.rows.tolist() == ROWS[:1]
    assert (api.requests, len(api.asked)) == (3, 1)


def test_it_waits_as_long_as_it_is_asked_to(api: Api) -> None:
    api.steps = [(429, "1")]
    started = time.monotonic()
    api.ask(INPUTS)
    assert time.monotonic() - started >= 1.0
    assert api.said == ["the target answered 429: asking again in 1 seconds"]
    assert api.requests == 2


def test_a_long_pause_ends_the_run(api: Api) -> None:
    api.steps = [(429, "86400")]
    with pytest.raises(TargetUnreachable, match="answered 429 and asks for a pause of 86,400 seconds; go on then"):
        api.ask(INPUTS)
    assert api.requests == 1


@pytest.mark.parametrize(("text", "seconds"), [
    ("7", 7.0), ("0", 0.0), ("", None), ("soon", None), ("-3", None), ("nan", None), ("inf", None), ("1e3", None)])
def test_retry_after_is_read(text: str, seconds: float | None) -> None:
    assert http._retry_after({b"retry-after": text.encode()}) == seconds
    assert http._retry_after({}) is None


def test_retry_after_may_be_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    found = http._retry_after({b"retry-after": soon.encode()})
    assert found is not None
    assert 55 < found <= 60
    assert http._retry_after({b"retry-after": b"Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


def test_patience_ends(api: Api) -> None:
    api.steps = [503] * 10
    with pytest.raises(TargetError, match=r"answered 503 \(it's \[31m so\)"):
        api.ask(INPUTS)
    assert api.requests == http.TRIES


@pytest.mark.parametrize("status", [413, 429])
def test_a_request_that_is_too_large_is_sent_in_parts(api: Api, status: int) -> None:
    api.most_rows = 2
    api.steps = [status] if status == 429 else []
    rng = np.arange(20.0).reshape(10, 2) / 20
    reply, = api.ask(rng)
    assert reply.rows[:, 0].tolist() == rng[:, 0].tolist()
    assert [row for document in api.asked for row in document["instances"]] == rng.tolist()


# What is refused

@pytest.mark.parametrize(("step", "message"), [
    (400, r"answered 400 \(it's \[31m so\)"), (401, "put the key into the variable that .* api_key_env names"),
    (404, "name the inference route"), (500, "answered 500"), (302, "answered 302"),
])
def test_a_refusal_is_told_and_not_repeated(api: Api, step: int, message: str) -> None:
    api.steps = [step]
    with pytest.raises(TargetError, match=message):
        api.ask(INPUTS)
    assert api.requests == 1


@pytest.mark.parametrize(("document", "message"), [
    ({"predictions": [2, 0, 1]}, "the answer has no rows of probabilities"),
    ({"predictions": [[0.5, 0.5]]}, "no rows of probabilities, one for each of 3 queries"),
    ({"predictions": [[3.5, -0.5]] * 3}, "the answer has no rows of probabilities"),
    ({"predictions": [[0.5, 0.9]] * 3}, "the answer has no rows of probabilities"),
    ({"predictions": []}, "the answer has no rows of probabilities"),
    ([], "the answer has no rows of probabilities"),
    ({"predictions": [[0.5, None]] * 3}, "the answer has no rows of probabilities"),
], ids=["labels", "fewer rows", "logits", "unnormalised", "none", "bare", "null"])
def test_an_answer_that_is_no_probabilities_is_told(api: Api, document: Any, message: str) -> None:
    api.steps = [document]
    with pytest.raises(TargetError, match=message):
        api.ask(INPUTS)


def test_a_named_output_that_is_missing_is_told(api: Api) -> None:
    with pytest.raises(TargetError, match="no floating-point output 'p'"):
        api.ask(INPUTS, scores="p")


def test_a_target_that_hangs_is_not_asked_again(api: Api) -> None:
    api.steps = ["hang"]
    with pytest.raises(TargetUnreachable, match=r"no answer within 0\.3 seconds; look at the model server"):
        api.ask(INPUTS, answer_seconds=0.3)
    assert api.requests == 1


def test_an_answer_without_end_is_cut(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LIMIT_BYTES", 20)
    with pytest.raises(TargetError, match="an answer is over 20 bytes"):
        api.ask(INPUTS)


def test_nobody_there_is_told(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"

        async def asking(_: str) -> None:
            async with http.reaching(http.Endpoint(f"{address}/predict")) as target:
                await target.query(INPUTS)

        with pytest.raises(TargetUnreachable, match="expected a model server's HTTP port"):
            api.run(asking)


# Open Inference Protocol

TENSOR: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [-1, 2]}


def oip(api: Api, inputs: Any = INPUTS, path: str = "/v2/models/m", **metadata: Any) -> Any:
    api.metadata = {"name": "m", "inputs": [{**TENSOR, **metadata}], "outputs": []}
    reply, = api.ask(inputs, path=path)
    assert reply.rows.tolist() == [[0.25, 0.75]] * len(inputs)
    return api.asked[-1]["inputs"]


@pytest.mark.parametrize("path", ["/v2/models/m", "/v2/models/m/infer", "/v2/models/m/versions/2",
                                  "/v2/models/m/"])
def test_a_tensor_is_asked_by_its_name(api: Api, path: str) -> None:
    assert oip(api, path=path) == [
        {"name": "x", "datatype": "FP32", "shape": [3, 2], "data": INPUTS.reshape(-1).tolist()}]


def test_a_tensor_has_the_models_shape_and_kind(api: Api) -> None:
    images = np.arange(24.0).reshape(2, 12)
    tensor, = oip(api, images, shape=[-1, 1, 3, -1], datatype="INT64")
    assert (tensor["shape"], tensor["data"]) == ([2, 1, 3, 4], list(range(24)))


def test_texts_go_into_a_tensor_of_bytes(api: Api) -> None:
    tensor, = oip(api, ["one", "two"], shape=[-1, 1], datatype="BYTES")
    assert (tensor["shape"], tensor["data"]) == ([2, 1], ["one", "two"])
    assert oip(api, ["one"], shape=[-1], datatype="BYTES")[0]["shape"] == [1]


@pytest.mark.parametrize(("metadata", "inputs", "message"), [
    ({"shape": [-1, 3]}, INPUTS, r"input 'x' has rows of shape \[3\]; the pool's have 2 features"),
    ({"shape": [-1, 4, -1]}, INPUTS, r"rows of shape \[4, -1\]; the pool's have 2"),
    ({"datatype": "BYTES"}, INPUTS, "input 'x' is BYTES; expected numbers"),
    ({}, ["one"], "input 'x' is FP32; expected BYTES for texts"),
    ({"name": 3}, INPUTS, "its input has no name, datatype and shape"),
], ids=["features", "parts", "numbers", "texts", "no name"])
def test_a_tensor_of_another_kind_is_told(api: Api, metadata: dict[str, Any], inputs: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        oip(api, inputs, **metadata)


@pytest.mark.parametrize("metadata", [{}, [], {"inputs": 3}, {"inputs": [3]}], ids=str)
def test_a_server_without_metadata_is_told(api: Api, metadata: Any) -> None:
    api.metadata = metadata
    with pytest.raises(TargetUnreachable, match="answered 200 and no metadata with `inputs`"):
        api.ask(INPUTS, path="/v2/models/m")


def test_a_model_of_several_inputs_is_told(api: Api) -> None:
    api.metadata = {"inputs": [{}, {}]}
    with pytest.raises(TargetError, match="the model takes 2 inputs"):
        api.ask(INPUTS, path="/v2/models/m")


@pytest.mark.parametrize(("endpoint", "path", "message"), [
    ({"dialect": "oip"}, "/predict", "names no model"), ({"dialect": "grpc"}, "/predict", "there is no 'grpc'"),
])
def test_an_endpoint_that_cannot_be_asked_is_told(api: Api, endpoint: Any, path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        api.ask(INPUTS, path=path, **endpoint)

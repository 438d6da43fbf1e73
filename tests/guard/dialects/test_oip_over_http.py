"""Triton's own client, through the guard, before a server that answers as Triton does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import uvicorn
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from counterclone.testing.oip_server import Model, OipServer, Tensor

if TYPE_CHECKING:
    from tests.guard.conftest import Build

Array = NDArray[Any]
SETTINGS = """
[target]
dialect = "oip"

[guard]
limit_queries_per_minute = 40

[[guard.rule]]
kind = "snap"
step = 0.5

[[guard.policy]]
kind = "rounding"
decimals = 2
"""
WEIGHTS = np.linspace(-1.0, 1.0, 12).reshape(4, 3)[:, ::-1]
QUERIES = np.array([[0.6, 0.4, 1.1, -0.2], [2.0, 1.0, 0.0, 0.7]], dtype=np.float32)
SNAPPED = [[0.5, 0.5, 1.0, 0.0], [2.0, 1.0, 0.0, 0.5]]


class Served(NamedTuple):
    """A guarded server: its client, and the inputs that its model got."""

    client: InferenceServerClient
    seen: list[Array]


@pytest.fixture
def served(guarded: Build) -> Iterator[Served]:
    seen: list[Array] = []

    def run(arrays: dict[str, Array]) -> dict[str, Array]:
        seen.append(arrays["x"])
        odds = np.exp(arrays["x"].astype(float) @ WEIGHTS)
        scores = odds / odds.sum(axis=1, keepdims=True)
        return {"scores": scores, "label": scores.argmax(axis=1)}

    models = {datatype: Model([Tensor("x", datatype, (-1, 4))],
                              [Tensor("scores", datatype, (-1, 3)), Tensor("label", "INT64", (-1,))], run,
                              versions=["1", "3"]) for datatype in ("FP16", "FP32", "FP64")}
    app = guarded(OipServer(models), SETTINGS).guard
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        with contextlib.closing(InferenceServerClient(f"127.0.0.1:{listener.getsockname()[1]}")) as client:
            yield Served(client, seen)
        server.should_exit = True
        thread.join()


def key() -> dict[str, str]:
    """The client writes into the headers that it is given."""
    return {"Authorization": "Bearer ann"}


def given(array: Array, datatype: str = "FP32", *, binary: bool = True) -> list[InferInput]:
    tensor = InferInput("x", list(array.shape), datatype)
    return [tensor.set_data_from_numpy(array, binary_data=binary)]


def wanted(*, binary: bool) -> list[InferRequestedOutput]:
    return [InferRequestedOutput(name, binary_data=binary) for name in ("label", "scores")]


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("asks_binary", [False, True], ids=["JSON in", "binary in"])
@pytest.mark.parametrize("answers_binary", [False, True], ids=["JSON out", "binary out"])
def test_the_client_reads_rounded_probabilities(served: Served, asks_binary: bool, answers_binary: bool,
                                                compression: str | None) -> None:
    result = served.client.infer("FP32", given(QUERIES, binary=asks_binary), outputs=wanted(binary=answers_binary),
                                 model_version="3", request_id="q1", headers=key(),
                                 request_compression_algorithm=compression, response_compression_algorithm="gzip")
    assert [array.tolist() for array in served.seen] == [SNAPPED]
    scores = result.as_numpy("scores")
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, scores.round(2))
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-6)
    assert scores.argmax(axis=1).tolist() == result.as_numpy("label").tolist()
    assert {key: result.get_response()[key] for key in ("id", "model_name", "model_version")} == {
        "id": "q1", "model_name": "FP32", "model_version": "3"}


@pytest.mark.parametrize("datatype", ["FP16", "FP64"])
def test_other_floats_stay_what_they_are(served: Served, datatype: str) -> None:
    array = QUERIES.astype({"FP16": np.float16, "FP64": np.float64}[datatype])
    scores = served.client.infer(datatype, given(array, datatype), headers=key()).as_numpy("scores")
    assert served.seen[0].dtype == scores.dtype == array.dtype
    assert served.seen[0].tolist() == SNAPPED
    np.testing.assert_array_equal(scores, scores.astype(float).round(2).astype(scores.dtype))


def test_one_query_has_one_answer_however_it_is_sent(served: Served) -> None:
    nearby = QUERIES + np.float32(0.01)
    answers = [served.client.infer("FP32", given(array, binary=binary), outputs=wanted(binary=binary),
                                   headers=key()).as_numpy("scores").tolist()
               for array in (QUERIES, nearby) for binary in (False, True)]
    assert all(each == answers[0] for each in answers)


def test_metadata_and_health_pass(served: Served) -> None:
    assert served.client.is_server_live()
    assert served.client.is_model_ready("FP32", "3")
    assert served.client.get_server_metadata()["extensions"] == ["classification", "binary_tensor_data"]
    assert served.client.get_model_metadata("FP32")["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1, 4]}]


def test_errors_are_read_as_the_servers_own(served: Served) -> None:
    def refused(array: Array, model: str = "FP32", **how: Any) -> str:
        with pytest.raises(InferenceServerException) as caught:
            served.client.infer(model, given(array), headers=key(), **how)
        return str(caught.value)

    assert refused(QUERIES, outputs=[InferRequestedOutput("scores", class_count=2)]) == (
        "[400] `outputs` asks for a classification, which is text; ask for the tensor itself")
    assert refused(np.array([[np.nan, 0, 0, 0]], np.float32)) == (
        "[400] input 'x' holds numbers that aren't finite; send finite ones")
    assert refused(QUERIES, model="none") == "[404] Request for unknown model: 'none' is not found"
    assert refused(np.zeros((99, 4), np.float32)).startswith("[429] ")
    assert served.seen == []

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from counterclone.testing.oip_server import Model, OipServer, Tensor
from counterclone.testing.oip_tensors import Array

NUMBERS = {"BOOL": bool, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
           "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16,
           "FP32": np.float32, "FP64": np.float64}
SCORES = np.array([[0.125, 0.5, 0.375], [0.25, 0.25, 0.5]], dtype=np.float32)


def failing(arrays: dict[str, Array]) -> dict[str, Array]:
    raise ValueError("no weights")


def both(arrays: dict[str, Array]) -> dict[str, Array]:
    return {"sum": arrays["a"] + arrays["b"], "text": arrays["text"], "scores": SCORES[:len(arrays["a"])]}


MODELS = {
    **{datatype: Model([Tensor("x", datatype, (-1, 3))], [Tensor("y", datatype, (-1, 3))],
                       lambda arrays: {"y": arrays["x"]}) for datatype in (*NUMBERS, "BYTES")},
    "both": Model(
        [Tensor("a", "FP32", (-1, 2)), Tensor("b", "INT64", (-1, 2)), Tensor("text", "BYTES", (-1,))],
        [Tensor("sum", "FP64", (-1, 2)), Tensor("text", "BYTES", (-1,)), Tensor("scores", "FP32", (-1, 3))], both,
        labels=["cat", "dog", "owl"], versions=["1", "7"]),
    "flat": Model([Tensor("x", "INT32", (4,))], [Tensor("x", "INT32", (4,))], lambda arrays: arrays),
    "failing": Model([Tensor("x", "FP32", (1,))], [Tensor("y", "FP32", (1,))], failing),
}


@pytest.fixture(scope="module")
def client() -> Iterator[InferenceServerClient]:
    """Triton's own client of the server."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(OipServer(MODELS), log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        with contextlib.closing(InferenceServerClient(f"127.0.0.1:{listener.getsockname()[1]}")) as client:
            yield client
        server.should_exit = True
        thread.join()


def given(name: str, array: Array, datatype: str, *, binary: bool = True) -> InferInput:
    return InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)


def inputs(*, binary: bool = True) -> list[InferInput]:
    return [given("a", np.array([[1, 2], [3, 4]], dtype=np.float32), "FP32", binary=binary),
            given("b", np.array([[10, 20], [30, 40]]), "INT64"),
            given("text", np.array([b"caf\xc3\xa9", b""], dtype=object), "BYTES", binary=binary)]


def test_health_and_metadata(client: InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata() == {"name": "oip-server", "version": "2.0",
                                            "extensions": ["classification", "binary_tensor_data"]}
    for version, is_ready in (("", True), ("1", True), ("7", True), ("2", False)):
        assert client.is_model_ready("both", version) == is_ready
    assert not client.is_model_ready("none")
    metadata = client.get_model_metadata("both", "7")
    assert metadata["versions"] == ["1", "7"]
    assert metadata["inputs"][0] == {"name": "a", "datatype": "FP32", "shape": [-1, 2]}
    assert [each["name"] for each in metadata["outputs"]] == ["sum", "text", "scores"]


@pytest.mark.parametrize("answers_binary", [False, True], ids=["JSON out", "binary out"])
@pytest.mark.parametrize("asks_binary", [False, True], ids=["JSON in", "binary in"])
@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_datatype_of_numbers_comes_back(client: InferenceServerClient, datatype: str, asks_binary: bool,
                                              answers_binary: bool) -> None:
    array = np.array([[0, 1, 1], [1, 0, 100]]).astype(NUMBERS[datatype])
    if datatype == "FP16" and not (asks_binary and answers_binary):
        with pytest.raises(InferenceServerException, match="FP16 data via JSON is not supported"):
            client.infer(datatype, [given("x", array, datatype, binary=asks_binary)],
                         outputs=[InferRequestedOutput("y", binary_data=answers_binary)])
        return
    back = client.infer(datatype, [given("x", array, datatype, binary=asks_binary)],
                        outputs=[InferRequestedOutput("y", binary_data=answers_binary)])
    np.testing.assert_array_equal(back.as_numpy("y"), array)
    assert ("parameters" in back.get_output("y")) == answers_binary


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])
def test_text_comes_back(client: InferenceServerClient, binary: bool) -> None:
    array = np.array([[b"", b"a", b"caf\xc3\xa9"], [b"x" * 300, b"\x00", b" "]], dtype=object)
    back = client.infer("BYTES", [given("x", array, "BYTES", binary=binary)],
                        outputs=[InferRequestedOutput("y", binary_data=binary)]).as_numpy("y")
    assert [text if binary else text.encode() for text in back.flat] == list(array.flat)


def test_outputs_come_as_they_are_asked_for(client: InferenceServerClient) -> None:
    every = client.infer("both", inputs(), model_version="1", request_id="q1")  # the client then asks for binary
    assert every.get_response()["id"] == "q1"
    assert (every.get_response()["model_name"], every.get_response()["model_version"]) == ("both", "1")
    np.testing.assert_array_equal(every.as_numpy("sum"), [[11.0, 22.0], [33.0, 44.0]])
    assert list(every.as_numpy("text")) == [b"caf\xc3\xa9", b""]
    assert every.get_output("scores")["parameters"] == {"binary_data_size": 24}
    mixed = client.infer("both", inputs(binary=False), outputs=[
        InferRequestedOutput("scores", binary_data=True), InferRequestedOutput("sum", binary_data=False)])
    assert mixed.get_response()["model_version"] == "7"
    assert mixed.get_output("sum")["data"] == [11.0, 22.0, 33.0, 44.0]
    np.testing.assert_array_equal(mixed.as_numpy("scores"), SCORES)
    assert mixed.get_output("text") is None


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])
def test_classes_come_as_text(client: InferenceServerClient, binary: bool) -> None:
    answer = client.infer("both", inputs(), outputs=[
        InferRequestedOutput("scores", binary_data=binary, class_count=2),
        InferRequestedOutput("sum", binary_data=binary, class_count=9)])
    scores, sums = (answer.as_numpy(name).astype(str).tolist() for name in ("scores", "sum"))
    assert scores == [["0.500000:1:dog", "0.375000:2:owl"], ["0.500000:2:owl", "0.250000:0:cat"]]
    assert sums == [["22.000000:1:dog", "11.000000:0:cat"], ["44.000000:1:dog", "33.000000:0:cat"]]
    array = np.array([4, 8, 8, 1], dtype=np.int32)
    flat = client.infer("flat", [given("x", array, "INT32")], outputs=[
        InferRequestedOutput("x", binary_data=binary, class_count=3)])
    assert flat.as_numpy("x").astype(str).tolist() == ["8:1", "8:2", "4:0"]


@pytest.mark.parametrize(("model", "asked", "outputs", "message"), [
    ("none", inputs(), None, r"\[404\] Request for unknown model: 'none' is not found"),
    ("both", inputs()[:2], None, r"\[400\] expected 3 inputs but got 2 inputs for model 'both'"),
    ("both", [*inputs(), inputs()[0]], None, r"\[400\] input 'a' already exists in request"),
    ("both", [given("z", SCORES, "FP32")], None, r"\[400\] unexpected inference input 'z' for model 'both'"),
    ("both", [given("a", SCORES, "FP32")], None,
     r"unexpected shape for input 'a' for model 'both'. Expected \[-1,2\], got \[2,3\]"),
    ("both", [given("a", np.zeros((1, 2)), "FP64")], None, "data-type is 'FP64', but model 'both' expects 'FP32'"),
    ("both", inputs(), [InferRequestedOutput("z")], "unexpected inference output 'z' for model 'both'"),
    ("both", inputs(), [InferRequestedOutput("text", class_count=1)], "unsupported type 'BYTES'"),
    ("both", inputs(), [InferRequestedOutput("sum", class_count=-1)], "Unable to parse 'classification'"),
    ("failing", [given("x", np.zeros(1, np.float32), "FP32")], None, r"\[500\] ValueError: no weights"),
])
def test_errors_are_told_as_triton_tells_them(client: InferenceServerClient, model: str, asked: list[InferInput],
                                              outputs: list[InferRequestedOutput] | None, message: str) -> None:
    with pytest.raises(InferenceServerException, match=message):
        client.infer(model, asked, outputs=outputs)


def body_of(size: object, content: bytes, **fields: Any) -> bytes:
    tensor = {"name": "x", "datatype": "INT32", "shape": [4], "parameters": {"binary_data_size": size}, **fields}
    return json.dumps({"inputs": [tensor]}).encode() + content


@pytest.mark.parametrize(("body", "length", "message"), [
    (body_of(16, bytes(12)), -12, "expecting 4 additional bytes"),
    (body_of(12, bytes(12)), -12, "input byte size mismatch for input 'x' for model 'flat'. Expected 16, got 12"),
    (body_of(16, bytes(20)), -20, "unexpected additional input data for model 'flat'"),
    (body_of(-1, b""), 0, "Unable to parse 'binary_data_size'"),
    (body_of(16, bytes(16), data=[1, 2, 3, 4]), -16, "But set 'data' 'binary_data_size'"),
    (body_of(16, bytes(16), parameters={}), -16, "But no field is set"),
    (body_of(16, bytes(16), parameters={"shared_memory_region": "r"}), -16, "shared memory isn't supported"),
    (body_of(0, b"", parameters={}, data=[1, 2, 3]), 0, "Shape does not match true shape"),
    (body_of(0, b"", parameters={}, data=[1, 2, 3, 1.5]), 0, "expected INT32 values"),
    (body_of(0, b"", parameters={}, data=[1, 2, 3, 2**40]), 0, "Unable to parse 'data'"),
    (b"", 0, "failed to parse the request JSON buffer"), (b"[]", 0, "non-object as object"),
    (b"{}", 0, "Unable to parse 'inputs'"), (b'{"inputs": [1]}', 0, "non-object as object"),
    (b"{}", 1, r"inference header size should be in range \(0, 2\), got: 3"),
])
def test_bodies_that_do_not_add_up_are_told(client: InferenceServerClient, body: bytes, length: int,
                                            message: str) -> None:
    headers = {"Inference-Header-Content-Length": len(body) + length}
    response = client._post("v2/models/flat/infer", body, headers, None)
    assert response.status_code in (400, 501)
    assert re.search(message, json.loads(response.read())["error"])


def test_other_routes_and_methods_are_told(client: InferenceServerClient) -> None:
    for path, status in (("v1", 404), ("v2/models", 200), ("v2/models/both/infer", 405), ("v2/models/none", 404)):
        assert client._get(path, None, None).status_code == status
    assert client._post("v2", b"", None, None).status_code == 405

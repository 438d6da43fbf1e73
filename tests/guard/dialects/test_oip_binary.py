from __future__ import annotations

import itertools
import json
import math
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferResult

from counterclone.answers import Answer, Rows, top_labels
from counterclone.errors import AnswerError, UnknownFormat
from counterclone.guard.dialects._tensors import narrowed
from counterclone.guard.dialects.oip import Oip
from counterclone.policies.rounding import Rounding
from counterclone.protocols import Body
from counterclone.queries import Query
from counterclone.testing import check_dialect

OIP = Oip()
LENGTH = b"inference-header-content-length"
STREAM = b"application/octet-stream"
DTYPES: dict[str, Any] = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16,
    "FP32": np.float32, "FP64": np.float64, "BF16": ml_dtypes.bfloat16}
FLOATS = ("FP16", "FP32", "FP64", "BF16")
Array = NDArray[Any]


class In(NamedTuple):
    """An input as a client has it."""

    name: str
    datatype: str
    array: Array
    binary: bool = True


def request(*inputs: In) -> Body:
    """A request as Triton's own client writes it; it writes no BF16 or FP16 in JSON that Triton would read."""
    tensors = []
    for each in inputs:
        tensor = InferInput(each.name, list(each.array.shape), each.datatype)
        tensors.append(tensor.set_data_from_numpy(each.array, binary_data=each.binary))
    content, length = InferenceServerClient.generate_request_body(tensors)
    return Body(content, {} if length is None else {LENGTH: b"%d" % length})


def query(*inputs: In) -> Query:
    return OIP.read_query(request(*inputs), "m")


def floats(*rows: list[float], datatype: str = "FP32") -> Array:
    return np.array(rows).astype(DTYPES[datatype])


def texts(*values: bytes) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def handmade(tensors: list[dict[str, Any]], tail: bytes, **fields: Any) -> Body:
    """A body with whatever parameters its tensors are given."""
    head = json.dumps({**fields, "inputs": tensors}).encode()
    return Body(head + tail, {LENGTH: b"%d" % len(head)})


def tensor(size: object = 8, shape: object = (1, 2), datatype: str = "FP32", **fields: Any) -> dict[str, Any]:
    return {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}, **fields}


def answer(*outputs: In, **fields: Any) -> Body:
    """An answer as Triton writes it."""
    listed, tail = [], b""
    for name, datatype, array, binary in outputs:
        described: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if binary:
            content = array.tobytes() if array.dtype != object else b"".join(
                len(text).to_bytes(4, "little") + text for text in array.flat)
            described["parameters"] = {"binary_data_size": len(content)}
            tail += content
        else:
            described["data"] = [x.decode() if isinstance(x, bytes) else x for x in array.ravel().tolist()]
        listed.append(described)
    head = json.dumps({"model_name": "m", **fields, "outputs": listed}).encode()
    if not tail:
        return Body(head, {b"content-type": b"application/json"})
    return Body(head + tail, {b"content-type": STREAM, LENGTH: b"%d" % len(head)})


def read(body: Body, n_rows: int = 2, scores: str = "") -> Answer:
    return OIP.read_answer(body, n_rows, scores)


def released(body: Body, n_rows: int, rows: dict[str, Rows], scores: str = "") -> Body:
    """The answer with other rows, and the headers that it then has."""
    written = OIP.write_answer(read(body, n_rows, scores), rows)
    return Body(written.content, {**body.headers, **written.headers})


def parsed(body: Body) -> InferResult:
    """What Triton's own client reads."""
    length = body.headers.get(LENGTH)
    return InferenceServerClient.parse_response_body(
        body.content, header_length=None if length is None else int(length))


X = In("x", "FP32", floats([0.5, 1.0], [2.0, 3.0]))
SCORES = In("scores", "FP32", floats([0.75, 0.25], [0.5, 0.5]))
HOT = np.array([[0.0, 1.0], [1.0, 0.0]])


# The laws

@pytest.mark.parametrize(("inputs", "outputs"), [
    pytest.param([X], [SCORES], id="binary"),
    pytest.param([X._replace(binary=False)], [SCORES], id="JSON in"),
    pytest.param([X], [SCORES._replace(binary=False)], id="JSON out"),
    pytest.param([X, In("a", "INT64", np.array([3, 4]), binary=False), In("s", "UINT8", np.array([7], np.uint8))],
                 [In("label", "INT64", np.array([0, 1])), SCORES, In("words", "BYTES", texts(b"a", b"b")),
                  SCORES._replace(name="again", binary=False)], id="mixed"),
    pytest.param([In("text", "BYTES", texts(b"good film", b"")), X], [SCORES], id="text"),
    *[pytest.param([In("x", datatype, floats([0.5, 1.0], [2.0, 3.0], datatype=datatype))],
                   [In("scores", datatype, floats([0.75, 0.25], [0.5, 0.5], datatype=datatype))], id=datatype)
      for datatype in FLOATS],
])
def test_laws(inputs: list[In], outputs: list[In]) -> None:
    check_dialect(OIP, request=request(*inputs), answer=answer(*outputs), n_rows=2)


# Requests

@pytest.mark.parametrize("datatype", DTYPES)
def test_every_datatype_becomes_features(datatype: str) -> None:
    array = np.array([[0, 1], [1, 1]]) if datatype == "BOOL" else np.array([[0, 1], [100, 3]])
    found = query(In("x", datatype, array.astype(DTYPES[datatype])))
    assert found.features is not None
    assert found.features.tolist() == array.tolist()


@given(npst.array_shapes(min_dims=1, max_dims=4, max_side=4),
       st.sampled_from(["FP32", "FP64", "INT64", "INT8", "BOOL"]), st.data())
def test_the_same_numbers_in_json_are_the_same_query(shape: tuple[int, ...], datatype: str,
                                                     data: st.DataObject) -> None:
    array = data.draw(npst.arrays(DTYPES[datatype], shape, elements=st.floats(-1e5, 1e5, width=32)
                                 if datatype in FLOATS else None))
    binary, plain = (query(X._replace(name="beside"), In("x", datatype, array, is_binary))
                     for is_binary in (True, False))
    assert binary.cells == plain.cells
    assert len(plain.cells) == binary.n_rows


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_halves_are_the_same_query_as_their_numbers(datatype: str) -> None:
    array = floats([0.1, 1.7], [-3.3, 100.0], datatype=datatype)
    plain = query(In("x", "FP64", array.astype(np.float64), binary=False))
    assert query(In("x", datatype, array)).cells == plain.cells


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_the_same_text_in_json_is_the_same_query(values: list[str]) -> None:
    array = texts(*(value.encode() for value in values))
    binary, plain = (query(In("t", "BYTES", array, is_binary)) for is_binary in (True, False))
    assert binary.cells == plain.cells
    assert binary.n_rows == len(values)


def test_text_that_is_no_utf8_counts_by_its_bytes() -> None:
    found = query(In("image", "BYTES", texts(b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe1", b"\xff\xd8\xff\xe0")))
    assert found.features is None
    assert found.cells[0] == found.cells[2] != found.cells[1]


def test_inputs_in_another_order_are_the_same_query() -> None:
    inputs = [X, In("b", "INT32", np.array([7, 8], np.int32)),
              In("a", "FP64", np.array([[0.5], [1.5]]), binary=False),
              In("side", "FP16", np.array([1, 2, 3], np.float16))]
    cells = {b"".join(query(*order).cells) for order in itertools.permutations(inputs)}
    assert len(cells) == 1


@pytest.mark.parametrize("body", [
    pytest.param(handmade([tensor(8)], bytes(4)), id="short body"),
    pytest.param(handmade([tensor(8)], bytes(9)), id="trailing bytes"),
    pytest.param(handmade([tensor(4)], bytes(4)), id="size is not the shape's"),
    pytest.param(handmade([tensor(8, (2**31, 2**31))], bytes(8)), id="huge shape"),
    pytest.param(handmade([tensor(8, (2**62, 2**62))], bytes(8)), id="huger shape"),
    pytest.param(handmade([tensor(0, (2**40, 0))], b""), id="rows without values"),
    pytest.param(handmade([tensor(0, (0, 2))], b""), id="no rows"),
    pytest.param(handmade([tensor(8, (2, -1))], bytes(8)), id="negative side"),
    pytest.param(handmade([tensor(8, (1,) * 40 + (2,))], bytes(8)), id="many sides"),
    pytest.param(handmade([tensor(8, None)], bytes(8)), id="no shape"),
    pytest.param(handmade([tensor(8, data=[1, 2])], bytes(8)), id="data too"),
    pytest.param(handmade([tensor(8, data=None)], bytes(8)), id="null too"),
    *[pytest.param(handmade([tensor(size)], bytes(8)), id=f"size {size!r}")
      for size in (-8, 8.0, "8", True, None, 2**70, [8])],
    pytest.param(handmade([tensor(8, datatype="FP8")], bytes(8)), id="unknown datatype"),
    pytest.param(handmade([tensor(8, datatype=7)], bytes(8)), id="datatype is no text"),  # type: ignore[arg-type]
    pytest.param(handmade([tensor(2, datatype="BOOL")], b"\x01\x02"), id="neither true nor false"),
    pytest.param(handmade([tensor(8), tensor(8)], bytes(16)), id="two of one name"),
    pytest.param(handmade([tensor(-8), tensor(16, name="y")], bytes(8)), id="sizes that cancel out"),
    pytest.param(handmade([tensor(4), tensor(12, name="y")], bytes(16)), id="a byte of the neighbour's"),
    pytest.param(handmade([tensor(parameters={"shared_memory_region": "r"})], b""), id="shared memory"),
    pytest.param(handmade([tensor(parameters={"binary_data_size": 8, "shared_memory_region": "r"})], bytes(8)),
                 id="shared memory too"),
    *[pytest.param(handmade([tensor(8, datatype="FP32")], np.array([value, 1.0], "<f4").tobytes()), id=f"{value}")
      for value in (math.nan, math.inf, -math.inf)],
    *[pytest.param(handmade([tensor(4, datatype=datatype)], b"\xff\x7f\x00\x00"), id=f"{datatype} nan")
      for datatype in ("FP16", "BF16")],
    *[pytest.param(handmade([tensor(len(tail), (2,), "BYTES")], tail), id=f"text {tail!r}") for tail in (
        b"\x01\x00\x00\x00a\x01\x00\x00\x00", b"\x01\x00\x00\x00a", b"\x01\x00\x00\x00a\x00\x00", bytes(12),
        b"\xff\xff\xff\xffab\x00\x00", b"\x05\x00\x00\x00a\x00\x00\x00\x00")],
])
def test_what_does_not_add_up_is_refused(body: Body) -> None:
    with pytest.raises(UnknownFormat, match="send") as caught:
        OIP.read_query(body, "m")
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [b"", b"x", b"-1", b"+10", b"1.0", b"0", b"1", b"99999", b"9" * 30, b"\xb2",
                                    b"1 "])
def test_a_length_that_is_none_is_refused(length: bytes) -> None:
    body = request(X)
    with pytest.raises(UnknownFormat, match="send"):
        OIP.read_query(Body(body.content, {LENGTH: length}), "m")


def test_without_the_header_nothing_is_binary() -> None:
    head = json.dumps({"inputs": [tensor(8)]}).encode()
    with pytest.raises(UnknownFormat, match="the binary tensors take 8 bytes, and 0 follow the JSON"):
        OIP.read_query(Body(head), "m")
    with pytest.raises(UnknownFormat, match="no JSON"):
        OIP.read_query(Body(head + bytes(8)), "m")


def test_a_claim_of_memory_costs_none() -> None:
    body = handmade([tensor(8, (2**20, 2**20))], bytes(8))
    tracemalloc.start()
    with pytest.raises(UnknownFormat, match="takes 4398046511104"):
        OIP.read_query(body, "m")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@given(st.permutations([
    X, In("b", "INT16", np.array([[1, -2], [300, 4]], np.int16)), In("flag", "BOOL", np.array([True, False])),
    In("half", "BF16", floats([1.5], [-2.5], datatype="BF16")),
    In("word", "UINT64", np.array([2**53, 7], np.uint64)),
    In("plain", "FP32", floats([8.0], [9.0]), binary=False), In("side", "FP64", np.array([1.0, 2.0, 3.0]))]))
def test_what_a_rule_changed_takes_the_place_of_the_inputs(inputs: list[In]) -> None:
    body = request(*inputs)
    asked = OIP.read_query(body, "m")
    assert asked.features is not None
    written = OIP.write_query(body, asked.with_features(asked.features[::-1].copy()))
    tensors, at = {}, int(written.headers[LENGTH])
    document = json.loads(written.content[:at])
    for described, each in zip(document["inputs"], inputs, strict=True):
        size = each.array.nbytes
        assert described["name"] == each.name
        if each.binary:
            assert described["parameters"] == {"binary_data_size": size}
            tensors[each.name] = np.frombuffer(written.content[at:at + size], each.array.dtype)
            at += size
        else:
            tensors[each.name] = np.array(described["data"])
    assert at == len(written.content)
    for each in inputs:
        expected = each.array if each.name == "side" else each.array[::-1]
        np.testing.assert_array_equal(tensors[each.name], expected.ravel())


@pytest.mark.parametrize(("datatype", "features", "expected"), [
    ("INT8", [-129.0, 1.4], [-128, 1]), ("UINT8", [-1.0, 255.6], [0, 255]), ("BOOL", [0.7, -3.0], [True, False]),
    ("INT64", [2.0**63, -(2.0**63)], [2**63 - 1024, -(2**63)]), ("UINT64", [2.0**64, -1.0], [2**64 - 2048, 0]),
    ("FP16", [70000.0, 0.1], [65504.0, float(np.float16(0.1))]),
    ("FP32", [1e39, -1e39], [float(np.finfo(np.float32).max), float(np.finfo(np.float32).min)]),
    ("BF16", [1e39, 1.00390625], [(2.0 - 2.0**-7) * 2.0**127, 1.0]),
])
def test_what_a_datatype_has_no_room_for_becomes_its_last_number(datatype: str, features: list[float],
                                                                 expected: list[float]) -> None:
    body = request(In("x", datatype, np.array([[0, 1]]).astype(DTYPES[datatype])))
    written = OIP.write_query(body, Query(np.array([features])))
    at = int(body.headers[LENGTH])
    assert written.content[:at] == body.content[:at]
    assert np.frombuffer(written.content[at:], DTYPES[datatype]).tolist() == expected


def test_the_rest_of_a_request_stays_byte_for_byte() -> None:
    head = (b'{"id":"caf\\u00e9", "inputs" : [{"name":"x","shape":[1 ,2],"datatype":"FP32","parameters":'
            b'{"binary_data_size": 8, "a": 1.50}}],"outputs":[{"name":"s","parameters":{"binary_data":true}}]}')
    body = Body(head + floats([0.5, 1.0]).tobytes(), {LENGTH: b"%d" % len(head)})
    written = OIP.write_query(body, OIP.read_query(body, "m").with_features(np.array([[2.0, 3.0]])))
    assert written.content == head + floats([2.0, 3.0]).tobytes()
    assert written.headers == {}


# Answers

@pytest.mark.parametrize(("headers", "is_read"), [
    ({b"content-type": STREAM, LENGTH: b"10"}, True), ({b"content-type": STREAM}, False),
    ({b"content-type": b"application/json", LENGTH: b"10"}, True), ({b"content-type": b"application/json"}, True),
    ({b"content-type": STREAM, LENGTH: b"10", b"content-encoding": b"gzip"}, False), ({}, False),
])
def test_the_header_announces_binary_tensors(headers: dict[bytes, bytes], is_read: bool) -> None:
    assert OIP.can_read(headers) == is_read


@pytest.mark.parametrize("datatype", FLOATS)
def test_probabilities_are_replaced_in_their_datatype(datatype: str) -> None:
    body = answer(SCORES._replace(datatype=datatype, array=SCORES.array.astype(DTYPES[datatype])))
    assert read(body).outputs["scores"].rows.tolist() == [[0.75, 0.25], [0.5, 0.5]]
    written = released(body, 2, {"scores": np.array([[0.125, 0.875], [1.0, 0.0]])})
    back = parsed(written).as_numpy("scores")
    assert back.dtype == DTYPES[datatype]
    assert back.astype(float).tolist() == [[0.125, 0.875], [1.0, 0.0]]
    assert len(written.content) == len(body.content)


def test_every_other_output_and_field_stays_byte_for_byte() -> None:
    label = In("label", "INT32", np.array([5, 6], np.int32))
    words = In("words", "BYTES", texts(b"caf\xc3\xa9", b"\xff\xfe"))
    boxes = In("boxes", "FP32", floats([1.5, 2.0, 3.0], [4.0, 5.0, 6.0]))
    body = answer(label, SCORES, words, boxes, id="q", parameters={"a": 1.5})
    written = released(body, 2, {"scores": HOT})
    before = body.content.split(SCORES.array.tobytes())
    assert len(before) == 2
    assert written.content == before[0] + HOT.astype("<f4").tobytes() + before[1]
    assert written.headers == body.headers


def test_binary_and_json_outputs_are_edited_alike() -> None:
    plain = SCORES._replace(name="plain", binary=False)
    body = answer(In("label", "INT32", np.array([5, 6], np.int32)), plain, SCORES)
    written = released(body, 2, {"scores": HOT, "plain": HOT})
    result = parsed(written)
    assert written.headers != body.headers
    assert result.as_numpy("scores").tolist() == result.as_numpy("plain").tolist() == HOT.tolist()
    assert result.as_numpy("label").tolist() == [5, 6]


def test_an_answer_whose_tensors_are_empty_has_no_header() -> None:
    body = answer(In("boxes", "FP32", np.zeros((0, 4), np.float32)), SCORES._replace(binary=False))
    assert LENGTH not in body.headers
    assert read(body).outputs.keys() == {"scores"}
    assert parsed(released(body, 2, {"scores": HOT})).as_numpy("scores").tolist() == HOT.tolist()


def test_a_single_number_in_no_shape_is_no_probability() -> None:
    assert read(answer(In("loss", "FP32", np.array(0.5, np.float32)), SCORES)).outputs.keys() == {"scores"}


def test_a_named_output_is_the_positive_class() -> None:
    body = answer(In("p", "FP32", floats([0.75], [0.25])))
    written = released(body, 2, {"p": HOT}, "p")
    assert parsed(written).as_numpy("p").tolist() == [[0.0], [1.0]]


def resized(size: object) -> Body:
    return damaged(lambda output: output["parameters"].update(binary_data_size=size))


def damaged(change: Callable[[dict[str, Any]], object], tail: bytes | None = None) -> Body:
    body = answer(SCORES)
    at = int(body.headers[LENGTH])
    document = json.loads(body.content[:at])
    change(document["outputs"][0])
    head = json.dumps(document).encode()
    return Body(head + (body.content[at:] if tail is None else tail), {**body.headers, LENGTH: b"%d" % len(head)})


@pytest.mark.parametrize("body", [
    pytest.param(resized(12), id="less than there is"),
    pytest.param(resized(20), id="more than there is"),
    pytest.param(resized("16"), id="size is text"),
    pytest.param(damaged(lambda output: output.pop("parameters")), id="no size"),
    pytest.param(damaged(lambda output: output.update(parameters={"shared_memory_region": "r"}), b""),
                 id="shared memory"),
    pytest.param(damaged(lambda output: output.update(data=[1, 2, 3, 4])), id="data too"),
    pytest.param(damaged(lambda output: output.update(shape=[2, 3])), id="another shape"),
    pytest.param(damaged(lambda output: output.update(shape=[2**40, 2**40])), id="huge shape"),
    pytest.param(damaged(lambda output: output.update(shape="2")), id="no shape"),
    pytest.param(damaged(lambda output: output.update(datatype="FP64")), id="another datatype"),
    pytest.param(damaged(lambda output: output.update(datatype="FLOAT")), id="unknown datatype"),
    pytest.param(damaged(lambda output: None, bytes(17)), id="trailing byte"),
    pytest.param(answer(SCORES, SCORES._replace(datatype="INT32")), id="two of one name"),
    *[pytest.param(answer(In("scores", "FP32", floats([value, 1.0], [0.5, 0.5]))), id=f"{value}")
      for value in (math.nan, math.inf)],
    pytest.param(answer(SCORES, In("raw", "FP32", floats([math.nan, 1.0], [0.0, 0.0]))), id="nan beside it"),
    pytest.param(answer(SCORES, In("raw", "FP16", floats([math.inf, 1.0], [0.0, 0.0], datatype="FP16"))),
                 id="infinity beside it"),
    pytest.param(answer(SCORES, In("raw", "FP32", floats([1.0986123, 0.0], [3.0, 3.0]))), id="logits"),
    pytest.param(answer(In("scores", "BYTES", texts(b"0.750000:0:cat", b"0.500000:1:dog"))), id="classes"),
    pytest.param(answer(In("scores", "BYTES", texts(b"inf:0", b"1.0:1"))), id="infinite class"),
    *[pytest.param(answer(SCORES)._replace(headers={LENGTH: length}), id=f"length {length!r}")
      for length in (b"", b"x", b"-1", b"0", b"99999")],
])
def test_what_is_no_answer_is_an_error(body: Body) -> None:
    with pytest.raises(AnswerError, match=r"expected|drop it"):
        read(body)


def test_numbers_that_are_no_probabilities_are_not_passed_silently() -> None:
    assert not read(answer(In("scores", "FP32", floats([-1.0, 1.0], [0.5, 0.5])))).is_scanned


# Rows in narrow floats

def softmax(logits: Array) -> Rows:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=-1, keepdims=True))


ROWS = npst.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 40)),
                   elements=st.floats(-20, 20)).map(softmax)


@given(ROWS, st.sampled_from(FLOATS), st.integers(1, 4))
def test_released_rows_keep_label_and_sum(rows: Rows, datatype: str, decimals: int) -> None:
    body = answer(In("scores", datatype, rows.astype(DTYPES[datatype])))
    found = read(body, len(rows), "scores").outputs["scores"]
    for policy_rows in (found.rows, Rounding(decimals=decimals).round(found.rows)):
        written = released(body, len(rows), {"scores": policy_rows}, "scores")
        back = parsed(written).as_numpy("scores").astype(np.float64)
        np.testing.assert_array_equal(back.argmax(axis=1), top_labels(policy_rows))
        half_a_unit = {"FP64": 2.0**-53, "FP32": 2.0**-24, "FP16": 2.0**-11, "BF16": 2.0**-8}[datatype]
        np.testing.assert_allclose(back, policy_rows, rtol=3 * half_a_unit, atol=2.0**-24)
        again = read(written, len(rows))
        assert again.outputs.keys() == {"scores"}
        np.testing.assert_array_equal(top_labels(again.outputs["scores"].rows), top_labels(policy_rows))


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "BF16"])
def test_a_label_that_a_narrower_float_would_tie_stays_ahead(datatype: str) -> None:
    tiny = 1e-12
    rows = np.array([[0.25 - tiny, 0.25 - tiny, 0.5 - tiny, 3 * tiny],
                     [0.25 - tiny / 2, 0.25, 0.25, 0.25 - tiny / 2],
                     [0.25 - tiny, 0.25 - tiny, 0.25 - tiny, 0.25 + 3 * tiny],
                     [0.5, 0.0, 0.0, 0.5], [0.0, 0.0, 0.0, 1.0]])
    narrow = narrowed(rows, datatype)
    assert narrow.argmax(axis=1).tolist() == top_labels(rows).tolist() == [2, 1, 3, 0, 3]
    values = (narrow.view(ml_dtypes.bfloat16) if datatype == "BF16" else narrow).astype(float)
    np.testing.assert_allclose(values, rows, atol=2.0**-9)


def test_a_positive_class_that_a_narrower_float_would_tie_stays_behind() -> None:
    body = answer(In("p", "FP32", floats([0.75], [0.25])))
    rows = np.array([[0.5 - 1e-12, 0.5 + 1e-12], [0.5, 0.5]])
    back = parsed(released(body, 2, {"p": rows}, "p")).as_numpy("p").ravel()
    assert (back >= 0.5).tolist() == [False, True]

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import orjson
import pytest

from counterclone.answers import Answer
from counterclone.errors import AnswerError, UnknownFormat
from counterclone.guard.dialects.oip import Oip
from counterclone.protocols import Body
from counterclone.queries import Query
from counterclone.testing import check_dialect

OIP = Oip()
JSON = {b"content-type": b"application/json"}
HOT = [[1.0, 0.0], [0.0, 1.0]]


def tensor(name: str, shape: list[int], data: object, datatype: str = "FP32") -> dict[str, object]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def query(*inputs: object, **fields: object) -> Query:
    return OIP.read_query(Body(orjson.dumps({"inputs": inputs, **fields})), "m")


def features(*inputs: object) -> object:
    found = query(*inputs).features
    return None if found is None else found.tolist()


def answer(*outputs: object) -> bytes:
    return orjson.dumps({"model_name": "m", "outputs": outputs})


def read(body: bytes, n_rows: int = 2, scores: str = "") -> Answer:
    return OIP.read_answer(Body(body), n_rows, scores)


def rows(found: Answer) -> dict[str, object]:
    return {name: output.rows.tolist() for name, output in found.outputs.items()}


def data_of(body: bytes) -> dict[str, Any]:
    """The data of each output or input."""
    document = json.loads(body)
    return {each["name"]: each["data"] for each in document.get("outputs", document.get("inputs"))}


def written(found: Answer, released: object) -> bytes:
    return OIP.write_answer(found, dict.fromkeys(found.outputs, np.array(released, dtype=np.float64))).content


# The laws

X = tensor("x", [2, 2], [0.5, 1.0, 2.0, 3.0])
SCORES = tensor("scores", [2, 2], [0.75, 0.25, 0.5, 0.5])


@pytest.mark.parametrize(("inputs", "outputs", "n_rows"), [
    pytest.param([X], [SCORES], 2, id="flat"),
    pytest.param([tensor("x", [2, 2], [[0.5, 1.0], [2.0, 3.0]])],
                 [tensor("scores", [2, 2], [[0.75, 0.25], [0.5, 0.5]])], 2, id="nested"),
    pytest.param([tensor("b", [2, 1], [1, 2], "INT64"), tensor("a", [2], [0.5, 1.0]), tensor("s", [3], [7, 8, 9])],
                 [SCORES, tensor("label", [2], [0, 1], "INT64")], 2, id="several"),
    pytest.param([tensor("text", [2], ["good film", "bad"], "BYTES")],
                 [SCORES, tensor("label", [2], ["a", "b"], "BYTES")], 2, id="text"),
    pytest.param([tensor("x", [1, 1, 2, 2], [0.5, 1, 2, 3], "FP16")],
                 [tensor("scores", [1, 2], [0.75, 0.25], "BF16")], 1, id="image"),
    pytest.param([X], [tensor("scores", [2, 2, 2], [0.75, 0.25, 0.5, 0.5, 1.0, 0.0, 0.25, 0.75], "FP64")], 2,
                 id="tokens"),
    pytest.param([X], [SCORES, tensor("other", [2, 2], [0.25, 0.75, 1.0, 0.0])], 2, id="two outputs"),
])
def test_laws(inputs: list[object], outputs: list[object], n_rows: int) -> None:
    request = orjson.dumps({"id": "1", "inputs": inputs, "parameters": {"a": 1}})
    check_dialect(OIP, request=Body(request), answer=Body(answer(*outputs), JSON), n_rows=n_rows)


# Paths

@pytest.mark.parametrize(("method", "path", "model"), [
    ("POST", "/v2/models/credit/infer", "credit"), ("POST", "/v2/models/credit/versions/3/infer", "credit"),
    ("GET", "/v2/models/credit/infer", None), ("GET", "/v2/health/live", None), ("GET", "/v2/health/ready", None),
    ("GET", "/v2/models/credit/ready", None), ("GET", "/v2/models/credit", None), ("GET", "/v2", None),
    ("POST", "/v2/models/credit/versions/3/ready", None), ("POST", "/v2/models/infer", None),
    ("POST", "/v2/models/a/b/infer", None), ("POST", "/predict", None),
])
def test_only_inference_is_a_request(method: str, path: str, model: str | None) -> None:
    assert OIP.model(method, path) == model


# Requests

@pytest.mark.parametrize(("inputs", "expected"), [
    pytest.param([X], [[0.5, 1.0], [2.0, 3.0]], id="flat"),
    pytest.param([tensor("x", [2, 2], [[0.5, 1.0], [2.0, 3.0]])], [[0.5, 1.0], [2.0, 3.0]], id="nested"),
    pytest.param([tensor("x", [2], [1, 2], "INT64")], [[1.0], [2.0]], id="one axis"),
    pytest.param([tensor("x", [2, 1, 2], [[[1, 2]], [[3, 4]]])], [[1.0, 2.0], [3.0, 4.0]], id="image"),
    pytest.param([tensor("b", [2, 1], [1, 2]), tensor("a", [2], [3, 4])], [[3.0, 1.0], [4.0, 2.0]], id="by name"),
    pytest.param([tensor("x", [2, 1], [1, 2]), tensor("t", [1], [9])], [[9.0, 1.0], [9.0, 2.0]], id="side input"),
    pytest.param([tensor("t", [3], [7, 8, 9]), tensor("x", [2, 1], [1, 2])],
                 [[7.0, 8.0, 9.0, 1.0], [7.0, 8.0, 9.0, 2.0]], id="longer side input, first"),
    pytest.param([tensor("a", [1, 2], [8, 9]), tensor("x", [2, 1], [1, 2])], [[8.0, 9.0, 1.0], [8.0, 9.0, 2.0]],
                 id="side input of two axes"),
    pytest.param([tensor("b", [2], [True, False], "BOOL")], [[1.0], [0.0]], id="true"),
    pytest.param([tensor("x", [2, 1], [1, 2]), tensor("none", [2, 0], []), tensor("empty", [0], [])],
                 [[1.0], [2.0]], id="empty ones beside it"),
])
def test_numeric_inputs_become_features(inputs: list[object], expected: object) -> None:
    assert features(*inputs) == expected


@pytest.mark.parametrize(("inputs", "values"), [
    pytest.param([tensor("t", [2], ["a", "b"], "BYTES")], [[["a"]], [["b"]]], id="text"),
    pytest.param([tensor("t", [2, 1], [["a"], ["b"]], "BYTES")], [[["a"]], [["b"]]], id="nested text"),
    pytest.param([tensor("t", [2, 2], [["a", "b"], ["c", "d"]], "BYTES")], [[["a", "b"]], [["c", "d"]]],
                 id="table"),
    pytest.param([tensor("t", [2], ["a", "b"], "BYTES"), tensor("n", [2], [1, 2.5])],
                 [[[1.0], ["a"]], [[2.5], ["b"]]], id="text and numbers"),
    pytest.param([tensor("t", [2], ["a", "b"], "BYTES"), tensor("task", [1], ["x"], "BYTES")],
                 [[["a"], ["x"]], [["b"], ["x"]]], id="side input"),
])
def test_text_inputs_keep_their_rows(inputs: list[object], values: object) -> None:
    found = query(*inputs)
    assert [list(row) for row in found.values if isinstance(row, tuple)] == values
    assert found.features is None
    assert len(set(found.cells)) == 2


@pytest.mark.parametrize("others", [
    [tensor("b", [2, 1], [1.5, 2.5]), tensor("a", [2], [3, 4])],
    [tensor("b", [2], [1.5, 2.5]), tensor("a", [2], [3, 4], "INT32")],
    [tensor("a", [2, 1], [[3], [4]]), tensor("b", [2], [1.5, 2.5], "FP64")],
])
def test_inputs_in_another_order_or_form_are_the_same_query(others: list[object]) -> None:
    assert query(*others).cells == query(tensor("a", [2], [3, 4]), tensor("b", [2], [1.5, 2.5])).cells


def test_the_order_of_inputs_does_not_decide_what_counts_as_a_row() -> None:
    inputs = [tensor("side", [1], [1]), tensor("x", [1000, 1], [0.5] * 1000)]
    assert query(*inputs).n_rows == query(*reversed(inputs)).n_rows == 1000


def test_a_side_input_cannot_ask_for_any_memory() -> None:
    wide, long = [0.5] * 100_000, [0.5] * 100_000
    with pytest.raises(UnknownFormat, match="fewer rows"):
        query(tensor("x", [100_000, 1], long), tensor("side", [1, 100_000], wide))
    with pytest.raises(UnknownFormat, match="fewer rows"):
        query(tensor("x", [100_000, 1], long), tensor("side", [1], ["long text" * 1000], "BYTES"))


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"{}", b'{"inputs": []}', b'{"inputs": {}}', b'{"inputs": [1]}', b'{"inputs": [{}]}',
    b'{"instances": [[1]]}', b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}',
    b'{"inputs": [{"name": "x", "shape": [0, 2], "datatype": "FP32", "data": []}]}',
    b'{"inputs": [{"name": "x", "shape": [1099511627776, 0], "datatype": "FP32", "data": []}]}',
    b'{"inputs": [{"name": "x", "shape": [0, 9223372036854775807, 2], "datatype": "FP32", "data": []}]}',
    b'{"inputs": [{"name": "x", "shape": [%s1], "datatype": "FP32", "data": [1]}]}' % (b"1," * 64),
    b'{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3]}]}',
    b'{"inputs": [{"name": "x", "shape": [-1], "datatype": "FP32", "data": [1]}]}',
    b'{"inputs": [{"name": "x", "shape": [], "datatype": "FP32", "data": [1]}]}',
    b'{"inputs": [{"name": "x", "shape": [1.0], "datatype": "FP32", "data": [1]}]}',
    b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": 1}]}',
    b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": ["1.5"]}]}',
    b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [null]}]}',
    b'{"inputs": [{"name": "x", "shape": [2], "datatype": "INT64", "data": [1, "2"]}]}',
    b'{"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [[1, 2], [3]]}]}',
    b'{"inputs": [{"name": "\xff", "shape": [1], "datatype": "FP32", "data": [1]}]}',
    b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}]}',
    b"[" * 20_000, b'{"inputs": ' + b"[" * 20_000,
], ids=repr)
def test_what_has_no_rows_is_refused(body: bytes) -> None:
    with pytest.raises(UnknownFormat, match="send"):
        OIP.read_query(Body(body), "m")


@pytest.mark.parametrize("body", [
    b'{"inputs": [%s], "inputs": [%s]}',
    b'{"inputs": [%s, {"name": "y", "name": "z", "shape": [1], "data": [%s]}]}',
    b'{"inputs": [%s], "outputs": [{"name": "s", "parameters": {"classification": 9}}], "outputs": %s}',
    b'{"inputs": [%s], "outputs": [{"name": "s", "parameters": {"classification": 9}, "parameters": {"a": %s}}]}',
    b'{"inputs": [%s], "outputs": [{"parameters": {"a": 1, "\\u0061": %s}}]}',
    b'{"inputs": [%s], "id": "1", "id": %s}', b'{"inputs": [%s], "parameters": {"": 1, "": %s}}',
])
def test_what_stands_twice_is_refused_since_servers_differ_in_which_they_read(body: bytes) -> None:
    with pytest.raises(UnknownFormat, match="stands twice"):
        OIP.read_query(Body(body % (orjson.dumps(X), b"1")), "m")


@pytest.mark.parametrize("names", [b"{}", b'{"gr\\u00f6\\u00dfe": 1}', b'{"a\\"b" : 1 , "a": 2}',
                                   '{"größe": 1}'.encode(), b'{"a": [{"b": 1}, {"b": 2}], "b": {"a": [[1], []]}}'])
def test_names_that_stand_once_are_fine_however_they_are_written(names: bytes) -> None:
    body = b'{"inputs": [%s],\n "parameters" : %s, "id": "a \\" b"}' % (orjson.dumps(X), names)
    assert OIP.read_query(Body(body), "m").n_rows == 2


@pytest.mark.parametrize("name", [b"parameters", b"\\u0070arameters"])
@pytest.mark.parametrize("depth", range(850, 1100, 25))
def test_a_nest_is_read_or_refused(depth: int, name: bytes) -> None:
    body = b'{"inputs": [%s], "%s": %s}' % (orjson.dumps(X), name, b"[" * depth + b"]" * depth)
    with contextlib.suppress(UnknownFormat):
        assert OIP.read_query(Body(body), "m").n_rows == 2


def test_inputs_of_one_name_are_refused() -> None:
    with pytest.raises(UnknownFormat, match="two inputs go by one name"):
        query(X, X)


@pytest.mark.parametrize("outputs", [
    [{"name": "scores", "parameters": {"classification": 3}}],
    [{"name": "a"}, {"name": "b", "parameters": {"classification": 1}}],
])
def test_scores_as_text_are_refused_since_no_policy_could_edit_them(outputs: object) -> None:
    with pytest.raises(UnknownFormat, match="ask for the tensor itself"):
        query(X, outputs=outputs)


def test_scores_in_shared_memory_are_refused() -> None:
    with pytest.raises(UnknownFormat, match="shared memory; ask for it in the answer"):
        query(X, outputs=[{"name": "scores", "parameters": {"shared_memory_region": "r"}}])


@pytest.mark.parametrize("outputs", [[{"name": "s"}], [{"name": "s", "parameters": {}}], None, "scores", [1]])
def test_other_wishes_for_outputs_are_left_to_the_server(outputs: object) -> None:
    assert query(X, outputs=outputs).n_rows == 2


@pytest.mark.parametrize(("inputs", "tenfold"), [
    pytest.param([X], {"x": [5.0, 10.0, 20.0, 30.0]}, id="flat"),
    pytest.param([tensor("x", [2, 2], [[0.5, 1], [2, 3]])], {"x": [[5.0, 10.0], [20.0, 30.0]]}, id="nested"),
    pytest.param([tensor("x", [2, 2], [1, 2, 3, 4], "INT64")], {"x": [10, 20, 30, 40]}, id="whole numbers"),
    pytest.param([tensor("b", [2, 1], [0.5, 1.0]), tensor("s", [3], [7, 8, 9]), tensor("a", [2], [3, 4], "INT64")],
                 {"b": [5.0, 10.0], "s": [7, 8, 9], "a": [30, 40]}, id="several"),
])
def test_what_a_rule_changed_takes_the_place_of_the_inputs(inputs: list[object],
                                                           tenfold: dict[str, object]) -> None:
    body = orjson.dumps({"id": "1", "inputs": inputs})
    asked = OIP.read_query(Body(body), "m")
    assert asked.features is not None
    assert data_of(OIP.write_query(Body(body), asked.with_features(10.0 * asked.features)).content) == tenfold


def test_the_rest_of_a_request_stays_byte_for_byte() -> None:
    rest = (rb'"id":"caf\u00e9"', rb'"name":"x","shape":[1 ,1],"datatype":"FP32"', rb'"parameters":{"a": 1.50}')
    body = b'{%s,"inputs":[{%s,"data":[0.5]}],%s}' % rest
    changed = OIP.read_query(Body(body), "m").with_features(np.array([[1.0]]))
    assert OIP.write_query(Body(body), changed).content == b'{%s,"inputs":[{%s,"data":[1.0]}],%s}' % rest


# Answers

@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "BF16", "fp32", "DOUBLE", ""])
@pytest.mark.parametrize("is_nested", [False, True], ids=["flat", "nested"])
def test_probabilities_are_found_and_replaced(datatype: str, is_nested: bool) -> None:
    data: list[Any] = [[0.75, 0.25], [0.5, 0.5]] if is_nested else [0.75, 0.25, 0.5, 0.5]
    found = read(answer(tensor("scores", [2, 2], data, datatype)))
    assert rows(found) == {"scores": [[0.75, 0.25], [0.5, 0.5]]}
    assert found.is_scanned
    assert data_of(written(found, HOT)) == {"scores": HOT if is_nested else [1.0, 0.0, 0.0, 1.0]}


def test_whole_numbers_in_a_floating_output_are_probabilities_too() -> None:
    assert rows(read(answer(tensor("scores", [2, 2], [1, 0, 0, 1])))) == {"scores": HOT}


def test_two_outputs_of_probabilities_are_edited_alike() -> None:
    found = read(answer(SCORES, tensor("again", [2, 2], [0.75, 0.25, 0.5, 0.5])))
    assert data_of(written(found, HOT)) == {"scores": [1.0, 0.0, 0.0, 1.0], "again": [1.0, 0.0, 0.0, 1.0]}


def test_an_answer_with_a_row_a_token_has_several_rows_a_query() -> None:
    found = read(answer(tensor("scores", [2, 2, 2], [0.75, 0.25, 0.5, 0.5, 1.0, 0.0, 0.25, 0.75])))
    assert found.outputs["scores"].rows_per_query == 2
    assert found.rows is not None
    assert found.rows.tolist() == [[0.75, 0.25], [1.0, 0.0]]


def test_every_other_output_and_field_stays_byte_for_byte() -> None:
    head, label, boxes = (rb'"model_name":"caf\u00e9","id": 12345678901234567890123, "parameters":{"a": 1e5}',
                          rb'{"name" : "label","shape":[2],"datatype":"INT64","data":[ 1,2 ]}',
                          rb'{"name":"boxes","shape":[2,4],"datatype":"FP32","data":[1.50,2,3,4,5.00,6,7,8]}')
    scores = b'{"name":"scores","shape":[2,2],"datatype":"FP32","parameters":{"b":1.50},"data":[%s]}'
    body = b'{%s,"outputs":[%s,%s,%s]}' % (head, label, scores % b"0.75,0.25,0.5,0.5", boxes)
    assert written(read(body), HOT) == b'{%s,"outputs":[%s,%s,%s]}' % (
        head.replace(b'"id": ', b'"id":').replace(b', "p', b',"p'), label.replace(b'"name" : ', b'"name":'),
        scores % b"1.0,0.0,0.0,1.0", boxes)


@pytest.mark.parametrize("outputs", [
    pytest.param([tensor("label", [2], [0, 1], "INT64")], id="labels"),
    pytest.param([tensor("label", [2], ["a", "b"], "BYTES")], id="names"),
    pytest.param([tensor("yes", [2], [True, False], "BOOL")], id="true"),
    pytest.param([tensor("label", [2], ["a", "b"], "STRING")], id="unknown datatype"),
    pytest.param([tensor("label", [2], [0, 1], "LONG")], id="unknown datatype of whole numbers"),
    pytest.param([tensor("scores", [2, 0], [])], id="no classes"),
    pytest.param([], id="nothing"),
])
def test_answers_without_numbers_that_could_tell_are_scanned(outputs: list[object]) -> None:
    found = read(answer(*outputs))
    assert found.is_scanned
    assert found.outputs == {}


@pytest.mark.parametrize("outputs", [
    pytest.param([tensor("scores", [2], [0.75, 0.25])], id="one number a row"),
    pytest.param([tensor("scores", [2, 2], [0.75, 0.75, 0.5, 0.5])], id="no sum of 1"),
    pytest.param([tensor("scores", [2, 2], [1.5, -0.5, 0.5, 0.5])], id="negative"),
    pytest.param([tensor("scores", [3, 2], [0.5] * 6)], id="too many rows"),
    pytest.param([tensor("scores", [2, 2], [1e308] * 4)], id="overflow"),
])
def test_numbers_that_are_no_probabilities_are_not_passed_silently(outputs: list[object]) -> None:
    assert not read(answer(*outputs)).is_scanned


@pytest.mark.parametrize("body", [
    pytest.param(b"", id="empty"),
    pytest.param(b"[]", id="list"),
    pytest.param(b"{}", id="no outputs"),
    pytest.param(b'{"outputs": {}}', id="outputs are no list"),
    pytest.param(b'{"outputs": [{"name": "\xff"}]}', id="no UTF-8"),
    pytest.param(b'{"outputs": ' + b"[" * 20_000, id="nested"),
    pytest.param(answer(SCORES)[:-20], id="cut"),
    pytest.param(answer(tensor("s", [2, 2], [None, 0.5, 0.5, 0.5])), id="null"),
    pytest.param(answer(tensor("s", [2, 2], ["0.5", 0.5, 0.5, 0.5])), id="text among them"),
    pytest.param(answer(tensor("s", [2, 2], [None, 0.5, 0.5, 0.5], "DOUBLE")), id="null in an unknown datatype"),
    pytest.param(answer(tensor("s", [2, 2], [0.5, 0.5, 0.5])), id="too few values"),
    pytest.param(answer(tensor("s", [2, 2], [[0.5, 0.5], [0.5]])), id="ragged"),
    pytest.param(answer({"name": "s", "shape": [2, 2], "datatype": "FP32"}), id="binary"),
    pytest.param(answer(SCORES).replace(b"0.75", b"NaN"), id="nan"),
    pytest.param(answer(SCORES, SCORES), id="two of one name"),
    pytest.param(answer(tensor("s", [2, 1], ["0.750000:0", "0.500000:1"], "BYTES")), id="classes"),
    pytest.param(answer(tensor("s", [2, 1], [["1.0:0:caf\u00e9"], ["0.5:1:a"]], "STRING")), id="nested classes"),
    pytest.param(answer(SCORES, tensor("other", [1], [1.0])).replace(b"[1.0]", b"[1e999]"), id="infinite"),
])
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    with pytest.raises(AnswerError, match="expected"):
        read(body)


def test_a_named_output_is_taken_at_its_owners_word() -> None:
    found = read(answer(tensor("p", [2, 1], [0.75, 0.25]), tensor("x", [2], [0.1, 0.2])), 2, "p")
    assert rows(found) == {"p": [[0.75, 0.25], [0.25, 0.75]]}
    assert data_of(written(found, HOT)) == {"p": [1.0, 0.0], "x": [0.1, 0.2]}


def test_a_named_output_that_is_missing_is_an_error() -> None:
    with pytest.raises(AnswerError, match="no floating-point output 'p', only scores; correct"):
        read(answer(SCORES), 2, "p")


def test_logits_beside_the_probabilities_are_an_error() -> None:
    with pytest.raises(AnswerError, match="'raw' holds the logits"):
        read(answer(SCORES, tensor("raw", [2, 2], [1.0986122886681098, 0.0, 3.0, 3.0])))


# Errors

def test_errors_are_the_protocols() -> None:
    assert json.loads(OIP.error(429, "rate_limit_exceeded", "wait")) == {"error": "wait"}

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.answers import Answer
from counterclone.errors import AnswerError, UnknownFormat
from counterclone.guard.dialects.predict import Predict
from counterclone.protocols import Body
from counterclone.queries import Query
from counterclone.testing import check_dialect

PREDICT = Predict()
PLAIN = {b"content-type": b"application/json"}


def query(**fields: object) -> Query:
    return PREDICT.read_query(Body(orjson.dumps(fields)), "")


def read(body: bytes, n_rows: int = 1, scores: str = "") -> Answer:
    return PREDICT.read_answer(Body(body), n_rows, scores)


def rows(answer: Answer) -> dict[str, object]:
    return {name: output.rows.tolist() for name, output in answer.outputs.items()}


def written(answer: Answer, released: object) -> bytes:
    """The answer with the same rows in each of its outputs."""
    rows = np.array(released, dtype=np.float64)
    return PREDICT.write_answer(answer, dict.fromkeys(answer.outputs, rows)).content


# The laws

@pytest.mark.parametrize(("request_body", "answer", "n_rows"), [
    pytest.param(b'{"instances": [[1.0, 2.5], [3, 4]], "signature_name": "x"}',
                 b'{"predictions": [[0.7, 0.2, 0.1], [0.05, 0.05, 0.9]], "model": "m"}', 2, id="serving, rows"),
    pytest.param(b'{"inputs": {"age": [30, 41], "income": [1.5, 2.5]}}',
                 b'{"outputs": {"classes": ["a", "b"], "scores": [[0.75, 0.25], [0.5, 0.5]]}}', 2,
                 id="serving, columns"),
    pytest.param(b'{"dataframe_split": {"index": [0, 1], "columns": ["b", "a"], "data": [[1, 0.5], [2, 1]]}}',
                 b'{"predictions": [{"label": 0, "p": [0.75, 0.25]}, {"label": 1, "p": [0.25, 0.75]}]}', 2,
                 id="frame"),
    pytest.param(b'{"dataframe_records": [{"b": 1, "a": 0.5}, {"b": 2, "a": 1.5}]}',
                 b'{"predictions": [{"cat": 0.75, "dog": 0.25}, {"dog": 0.75, "cat": 0.25}]}', 2, id="records"),
    pytest.param(b'{"instances": [{"pixels": [[0.5, 1], [2, 3]], "flag": true}]}',
                 b'{"predictions": [{"p": {"a": 0.5, "b": 0.5}}]}', 1, id="rows with names"),
    pytest.param(b'{"inputs": "good film"}',
                 b'[{"label": "A", "score": 0.75}, {"label": "B", "score": 0.25}]', 1, id="one text"),
    pytest.param(b'{"instances": ["good film", "bad"]}', b"[[0.75, 0.25], [0.125, 0.875]]", 2, id="texts"),
    pytest.param(b'{"instances": [[1, 2]]}', b'{"probabilities": [0.75, 0.25], "label": "a"}', 1, id="one row"),
    pytest.param(b'{"instances": [[1], [2]]}',
                 b'{"predictions": [[[0.5, 0.5], [0.25, 0.75]], [[1.0, 0.0], [0.125, 0.875]]]}', 2, id="tokens"),
])
def test_laws(request_body: bytes, answer: bytes, n_rows: int) -> None:
    check_dialect(PREDICT, request=Body(request_body), answer=Body(answer, PLAIN), n_rows=n_rows)


# Paths

@pytest.mark.parametrize(("method", "path", "model"), [
    ("POST", "/v1/models/credit:predict", "credit"), ("POST", "/v1/models/credit/versions/3:predict", "credit"),
    ("POST", "/predict", ""), ("POST", "/", ""), ("POST", "/v1/models/", ""),
    ("GET", "/v1/models/credit", None), ("GET", "/predict", None), ("PUT", "/predict", None),
])
def test_any_post_is_a_request(method: str, path: str, model: str | None) -> None:
    assert PREDICT.model(method, path) == model


# Requests

@pytest.mark.parametrize(("fields", "features"), [
    pytest.param({"instances": [[1, 2.5], [3, 4]]}, [[1.0, 2.5], [3.0, 4.0]], id="rows"),
    pytest.param({"instances": [1, 2.5]}, [[1.0], [2.5]], id="numbers"),
    pytest.param({"instances": [[[1, 2], [3, 4]]]}, [[1.0, 2.0, 3.0, 4.0]], id="images"),
    pytest.param({"instances": [{"b": 1, "a": [2, 3]}, {"a": [5, 6], "b": 4}]}, [[2.0, 3.0, 1.0], [5.0, 6.0, 4.0]],
                 id="rows with names"),
    pytest.param({"instances": [[True, 0.5]]}, [[1.0, 0.5]], id="true"),
    pytest.param({"instances": [[]]}, [[]], id="no features"),
    pytest.param({"inputs": [[1, 2]]}, [[1.0, 2.0]], id="list"),
    pytest.param({"inputs": {"b": [1, 2], "a": [[3, 4], [5, 6]]}}, [[3.0, 4.0, 1.0], [5.0, 6.0, 2.0]],
                 id="columns"),
    pytest.param({"inputs": {"b": 1, "a": 2}}, [[2.0, 1.0]], id="columns of one value"),
    pytest.param({"inputs": 3}, [[3.0]], id="number"),
    pytest.param({"dataframe_split": {"columns": ["b", "a"], "data": [[1, 2], [3, 4]]}}, [[2.0, 1.0], [4.0, 3.0]],
                 id="frame"),
    pytest.param({"dataframe_split": {"columns": [10, 9], "data": [[1, 2]]}}, [[1.0, 2.0]], id="numbered columns"),
    pytest.param({"dataframe_split": {"data": [[1, 2]]}}, [[1.0, 2.0]], id="frame without names"),
    pytest.param({"dataframe_records": [{"b": 1, "a": 2}]}, [[2.0, 1.0]], id="records"),
])
def test_every_numeric_form_becomes_features(fields: dict[str, object], features: object) -> None:
    found = query(**fields).features
    assert found is not None
    assert found.tolist() == features


@pytest.mark.parametrize(("fields", "values"), [
    pytest.param({"inputs": "good film"}, ["good film"], id="one text"),
    pytest.param({"inputs": ["good", "bad"]}, ["good", "bad"], id="texts"),
    pytest.param({"inputs": None}, [None], id="null"),
    pytest.param({"inputs": {"sex": ["f", "m"], "age": [1, 2]}}, [{"sex": "f", "age": 1}, {"sex": "m", "age": 2}],
                 id="mixed columns"),
    pytest.param({"instances": [["male", 34]]}, [["male", 34]], id="mixed rows"),
    pytest.param({"instances": [{"text": "good"}]}, [{"text": "good"}], id="texts with a name"),
    pytest.param({"instances": [{"a": 1}, {"b": 1}]}, [{"a": 1}, {"b": 1}], id="rows with different names"),
    pytest.param({"dataframe_split": {"columns": ["sex", "age"], "data": [["f", 1]]}}, [{"sex": "f", "age": 1}],
                 id="mixed frame"),
    pytest.param({"dataframe_split": {"columns": ["sex"], "data": [["f", 1]]}}, [["f", 1]],
                 id="frame, name missing"),
    pytest.param({"dataframe_records": [{"sex": "f", "age": None}]}, [{"sex": "f", "age": None}], id="records"),
])
def test_other_forms_keep_their_rows(fields: dict[str, object], values: object) -> None:
    found = query(**fields)
    assert found.values == values
    assert found.features is None
    assert len(found.cells) == found.n_rows


@pytest.mark.parametrize("other", [
    {"inputs": {"age": [30, 41], "income": [1.5, 2.5]}},
    {"inputs": {"income": [1.5, 2.5], "age": [30, 41]}},
    {"dataframe_split": {"columns": ["age", "income"], "data": [[30, 1.5], [41, 2.5]]}},
    {"dataframe_split": {"columns": ["income", "age"], "data": [[1.5, 30], [2.5, 41]]}},
    {"dataframe_records": [{"age": 30, "income": 1.5}, {"income": 2.5, "age": 41}]},
    {"instances": [{"income": 1.5, "age": 30}, {"age": 41, "income": 2.5}]},
])
def test_named_inputs_in_another_order_or_form_are_the_same_query(other: dict[str, object]) -> None:
    one = query(instances=[{"age": 30, "income": 1.5}, {"age": 41, "income": 2.5}])
    assert query(**other).cells == one.cells


def test_mixed_inputs_in_another_order_or_form_are_the_same_query() -> None:
    forms: tuple[dict[str, object], ...] = (
        {"inputs": {"age": [30], "sex": ["f"]}}, {"inputs": {"sex": ["f"], "age": [30]}},
        {"dataframe_split": {"columns": ["sex", "age"], "data": [["f", 30]]}},
        {"dataframe_records": [{"sex": "f", "age": 30}]})
    assert len({tuple(query(**fields).cells) for fields in forms}) == 1


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"3", b"null", b"{}", b'{"data": [[1]]}', b'{"instances": []}', b'{"inputs": []}',
    b'{"inputs": {}}', b'{"inputs": {"a": []}}', b'{"inputs": {"a": [1, 2], "b": [1]}}', b'{"instances": [{}]}',
    b'{"dataframe_split": []}', b'{"dataframe_split": {"data": []}}', b'{"dataframe_split": {"columns": ["a"]}}',
    b'{"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}', b'{"instances": [[NaN]]}',
    b'{"instances": [["\xff"]]}', b'{"instances": ["\\ud800"]}', b"[" * 20_000, b'{"a":' * 20_000,
], ids=repr)
def test_what_has_no_rows_is_refused(body: bytes) -> None:
    with pytest.raises(UnknownFormat, match="send"):
        PREDICT.read_query(Body(body), "")


def test_two_fields_are_refused_since_the_app_may_read_the_other() -> None:
    with pytest.raises(UnknownFormat, match="both `instances` and `inputs`; send one"):
        query(instances=[[1]], inputs=[[1], [2], [3]])


def test_tensors_of_another_protocol_are_refused_since_they_would_count_as_one_row() -> None:
    with pytest.raises(UnknownFormat, match="Open Inference Protocol"):
        query(inputs=[{"name": "x", "shape": [1000, 1], "datatype": "FP32", "data": [0.5] * 1000}])


@pytest.mark.parametrize(("body", "tenfold"), [
    pytest.param(b'{"id": 1.50, "instances": [[1, 2.5], [3, 4]]}',
                 b'{"id":1.50,"instances":[[10.0,25.0],[30.0,40.0]]}', id="rows"),
    pytest.param(b'{"instances": [1, 2]}', b'{"instances":[10,20]}', id="numbers"),
    pytest.param(b'{"instances": [[[1], [2]]]}', b'{"instances":[[[10],[20]]]}', id="images"),
    pytest.param(b'{"inputs": {"b": [2.0, 4.0], "a": [1, 3]}, "x": 1e5}',
                 b'{"inputs":{"b":[20.0,40.0],"a":[10,30]},"x":1e5}', id="columns"),
    pytest.param(b'{"inputs": {"b": [[1, 2], [3, 4]]}}', b'{"inputs":{"b":[[10,20],[30,40]]}}', id="wide column"),
    pytest.param(b'{"dataframe_split": {"index": [ 7,8 ], "columns": ["b", "a"], "data": [[2, 1.0], [4, 3.0]]}}',
                 b'{"dataframe_split":{"index":[ 7,8 ],"columns":["b", "a"],"data":[[20,10.0],[40,30.0]]}}',
                 id="frame"),
    pytest.param(b'{"dataframe_split": {"data": [[1, 2]]}}', b'{"dataframe_split":{"data":[[10,20]]}}',
                 id="frame without names"),
    pytest.param(b'{"dataframe_records": [{"b": 2, "a": 1.0}, {"a": 3.0, "b": 4}]}',
                 b'{"dataframe_records":[{"b":20,"a":10.0},{"a":30.0,"b":40}]}', id="records"),
])
def test_what_a_rule_changed_takes_the_place_of_the_inputs(body: bytes, tenfold: bytes) -> None:
    asked = PREDICT.read_query(Body(body), "")
    assert asked.features is not None
    assert PREDICT.write_query(Body(body), asked.with_features(10.0 * asked.features)).content == tenfold


@pytest.mark.parametrize(("number", "put"), [(1.0, b"true"), (0.0, b"false"), (0.5, b"0.5")])
def test_true_stays_true_unless_a_rule_makes_it_another_number(number: float, put: bytes) -> None:
    body = b'{"inputs": {"a": [true], "b": [4]}}'
    changed = PREDICT.read_query(Body(body), "").with_features(np.array([[number, 8.0]]))
    assert PREDICT.write_query(Body(body), changed).content == b'{"inputs":{"a":[%s],"b":[8]}}' % put


# Answers: each form, the probabilities in it, and what one-hot rows make of it

ONE, TWO = [[0.75, 0.25]], [[0.75, 0.25], [0.5, 0.5]]
HOT = [[1.0, 0.0], [0.0, 1.0]]
FORMS = {
    "rows": (b'{"predictions": [[0.75, 0.25], [0.5, 0.5]], "model": "m"}', {"predictions": TWO},
             b'{"predictions":[[1.0,0.0],[0.0,1.0]],"model":"m"}'),
    "one row": (b'{"probabilities": [0.75, 0.25]}', {"probabilities": ONE}, b'{"probabilities":[1.0,0.0]}'),
    "bare rows": (b" [ [0.75, 0.25] ] ", {"": ONE}, b"[[1.0,0.0]]"),
    "bare row": (b"[0.75, 0.25]", {"": ONE}, b"[1.0,0.0]"),
    "whole numbers among them": (b'{"predictions": [[1, 0], [0.5, 0.5]]}',
                                 {"predictions": [[1.0, 0.0], [0.5, 0.5]]},
                                 b'{"predictions":[[1.0,0.0],[0.0,1.0]]}'),
    "rows with fields": (b'{"predictions": [{"label": "a", "p": [0.75, 0.25]}]}', {"predictions.p": ONE},
                         b'{"predictions":[{"label":"a","p":[1.0,0.0]}]}'),
    "bare rows with fields": (b'[{"p": [0.75, 0.25]}, {"p": [0.5, 0.5]}]', {".p": TWO},
                              b'[{"p":[1.0,0.0]},{"p":[0.0,1.0]}]'),
    "rows by class": (b'{"predictions": [{"a": 0.75, "b": 0.25}, {"b": 0.5, "a": 0.5}]}', {"predictions.*": TWO},
                      b'{"predictions":[{"a":1.0,"b":0.0},{"b":0.0,"a":1.0}]}'),
    "one row by class": (b'{"probabilities": {"a": 0.75, "b": 0.25}, "label": "a"}', {"probabilities.*": ONE},
                         b'{"probabilities":{"a":1.0,"b":0.0},"label":"a"}'),
    "rows with a field by class": (b'{"predictions": [{"label": "a", "p": {"a": 0.75, "b": 0.25}}]}',
                                   {"predictions.p.*": ONE},
                                   b'{"predictions":[{"label":"a","p":{"a":1.0,"b":0.0}}]}'),
    "columns": (b'{"outputs": {"labels": ["a", "b"], "scores": [[0.75, 0.25], [0.5, 0.5]]}}',
                {"outputs.scores": TWO},
                b'{"outputs":{"labels":["a", "b"],"scores":[[1.0,0.0],[0.0,1.0]]}}'),
    "deep": (b'{"result": {"data": {"p": [[0.75, 0.25]], "n": 1.50}}}', {"result.data.p": ONE},
             b'{"result":{"data":{"p":[[1.0,0.0]],"n":1.50}}}'),
    "label and score": (b'[{"label": "A", "score": 0.75}, {"label": "B", "score": 0.25}]', {".score": ONE},
                        b'[{"label":"A","score":1.0},{"label":"B","score":0.0}]'),
    "number and score": (b'[{"id": 0, "score": 0.75}, {"id": 1, "score": 0.25}]', {".score": ONE},
                         b'[{"id":0,"score":1.0},{"id":1,"score":0.0}]'),
    "two outputs": (b'{"a": [[0.75, 0.25]], "b": [[0.75, 0.25]]}', {"a": ONE, "b": ONE},
                    b'{"a":[[1.0,0.0]],"b":[[1.0,0.0]]}'),
    "tokens": (b'{"predictions": [[[0.75, 0.25], [0.5, 0.5]]]}', {"predictions": TWO},
               b'{"predictions":[[[1.0,0.0],[0.0,1.0]]]}'),
    "a dot in the name": (b'{"my.scores": [[0.75, 0.25]]}', {"my.scores": ONE}, b'{"my.scores":[[1.0,0.0]]}'),
    "an empty list beside": (b'{"predictions": [[0.75, 0.25]], "warnings": []}', {"predictions": ONE},
                             b'{"predictions":[[1.0,0.0]],"warnings":[]}'),
}


@pytest.mark.parametrize("form", FORMS)
def test_probabilities_are_found_and_replaced_in_every_form(form: str) -> None:
    body, found, one_hot = FORMS[form]
    n_rows = max(map(len, found.values()))
    answer = read(body, 1 if form == "tokens" else n_rows)
    assert rows(answer) == found
    assert answer.is_scanned
    assert written(answer, HOT[:n_rows]) == one_hot


UNTOUCHED = (
    rb'"big": 123456789012345678901234567890', rb'"e": 1e5', rb'"digits": 1.50',
    rb'"escaped": "caf\u00e9 \ud83d\ude00 \/"',
    rb'"spaced": { "x" : [ 1 ,2 ] }', rb'"labels": ["a",  "b"]', rb'"boxes": [[0.10, 0.20, 30.0, 40.50]]',
    rb'"nothing": null', rb'"yes": true', '"text": "käse"'.encode(), rb'"nested": [{"a": [1, {"b": 0.50}]}]')


def test_every_other_field_stays_byte_for_byte() -> None:
    out = written(read(b'{"predictions": [[0.75, 0.25]], ' + b", ".join(UNTOUCHED) + b"}"), HOT[:1])
    for field in UNTOUCHED:
        name, _, value = field.partition(b": ")
        assert name + b":" + value in out


def test_fields_of_edited_rows_stay_byte_for_byte() -> None:
    answer = read(rb'{"predictions": [{"p": [0.75, 0.25], "box": [ 1.50,1e2 ], "name": "caf\u00e9"}]}')
    assert written(answer, HOT[:1]) == rb'{"predictions":[{"p":[1.0,0.0],"box":[ 1.50,1e2 ],"name":"caf\u00e9"}]}'


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                    | st.text(st.characters(exclude_categories=["Cs"])),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner), max_leaves=8)


@given(JSON, st.booleans(), st.sampled_from([None, 1]))
def test_any_field_stays_byte_for_byte(value: object, ascii_only: bool, indent: int | None) -> None:
    other = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    body = b'{"other":%s,"scores":[[0.75,0.25]],"last":%s}' % (other, other)
    answer = read(body, 1, "scores")
    assert written(answer, [[1.0, 0.0]]) == body.replace(b'"scores":[[0.75,0.25]]', b'"scores":[[1.0,0.0]]')


@pytest.mark.parametrize("body", [
    b'{"predictions": [3, 1]}', b'{"predictions": ["a", "b"]}', b'{"predictions": [[1, 0], [0, 1]]}',
    b'{"label": "a"}', b"{}", b"[]", b"[[]]", b"[3]", b'{"note": "0.75"}', b'[{"label": "a"}]', b'{"a": [[], {}]}',
    b'{"predictions": []}', b'"cat"', b" 3 ", b"true", b"null",
], ids=bytes.decode)
def test_answers_without_numbers_that_could_tell_are_scanned(body: bytes) -> None:
    answer = read(body, 2)
    assert answer.is_scanned
    assert answer.outputs == {}
    assert answer.rows is None


@pytest.mark.parametrize("body", [
    pytest.param(b'{"predictions": [[null, 0.3, 0.7], [0.1, 0.2, 0.7]]}', id="null"),
    pytest.param(b'{"predictions": [[0.5, 0.5], [1.0]]}', id="ragged"),
    pytest.param(b'{"predictions": [["cat", 0.93], ["dog", 0.07]]}', id="pairs"),
    pytest.param(b'{"predictions": [[true, 0.5], [0.5, "a"]]}', id="mixed"),
    pytest.param(b'[[{"label": "A", "score": 0.9}, {"label": "B", "score": 0.1}], []]', id="rows of pairs"),
    pytest.param(b'{"predictions": [{"p": 0.5}, {"q": 0.5}]}', id="rows with different names"),
    pytest.param(b'{"predictions": [{"a": 0.9, "b": 0.3}, {"a": 0.5, "b": 0.5}]}', id="by class, but no sum of 1"),
    pytest.param(b'{"predictions": [[0.9, 0.9], [0.5, 0.5]]}', id="no sum of 1"),
    pytest.param(b'{"predictions": [[1e308, 1e308], [0.5, 0.5]]}', id="overflow"),
    pytest.param(b'{"predictions": [[-0.5, 1.5], [0.5, 0.5]]}', id="negative"),
    pytest.param(b'{"predictions": [0.5, 0.25]}', id="one number a row"),
    pytest.param(b'{"predictions": [[0.5], [0.5]]}', id="one class"),
    pytest.param(b'{"predictions": [[0.5, 0.5]]}', id="too few rows"),
    pytest.param(b'{"predictions": [[100000000000000000000000000000000, 0.5], [0.5, 0.5]]}', id="big integer"),
    pytest.param(b'{"top": 0.75, "label": 3}', id="top score"),
    pytest.param(b"0.75", id="nothing but a number"),
    pytest.param(b'{"a":' * 500 + b"[[0.5, 0.5], [0.5, 0.5]]" + b"}" * 500, id="deep objects"),
    pytest.param(b'{"data": ' + b"[" * 200 + b"0.5" + b"]" * 200 + b"}", id="deep lists"),
])
def test_numbers_that_are_no_probabilities_are_not_passed_silently(body: bytes) -> None:
    assert not read(body, 2).is_scanned


@pytest.mark.parametrize("body", [
    pytest.param(b'{"predictions": [[NaN, 0.5]]}', id="nan"),
    pytest.param(b'{"predictions": [[Infinity, 0.5]]}', id="infinity"),
    pytest.param(b'{"predictions": [[0.5, 0.5]', id="cut"),
    pytest.param(b"[[0.5, 0.5]] x", id="more behind it"),
    pytest.param(b"", id="empty"),
    pytest.param(b'"cat', id="cut text"),
    pytest.param(b"garbage", id="garbage"),
    pytest.param(b'[["\xff", 0.5]]', id="no UTF-8"),
    pytest.param(b"[" * 20_000, id="nested lists"),
    pytest.param(b'{"a":' * 20_000, id="nested objects"),
    pytest.param(b'{"a": {"b": [0.5, 0.5]}, "a.b": [[0.25, 0.75]]}', id="two of one name"),
    pytest.param(b'{"a.b": [[0.25, 0.75]], "a": {"b": [0.5, 0.5]}}', id="two of one name, the field first"),
])
def test_what_is_no_answer_is_an_error(body: bytes) -> None:
    with pytest.raises(AnswerError, match="expected"):
        read(body)


@pytest.mark.parametrize(("body", "scores", "found", "one_hot"), [
    pytest.param(b'{"score": 0.75}', "score", ONE, b'{"score":1.0}', id="number"),
    pytest.param(b'{"score": [0.75], "x": [0.5]}', "score", ONE, b'{"score":[1.0],"x":[0.5]}', id="sigmoid"),
    pytest.param(b'{"score": [[0.75], [0.5]]}', "score", TWO, b'{"score":[[1.0],[0.0]]}', id="sigmoid column"),
    pytest.param(b'{"predictions": [{"score": 0.75, "label": 1}]}', "score", ONE,
                 b'{"predictions":[{"score":1.0,"label":1}]}', id="field of rows"),
    pytest.param(b'{"predictions": [{"score": 0.75, "other": 0.25}]}', "predictions.score", ONE,
                 b'{"predictions":[{"score":1.0,"other":0.25}]}', id="named with its path"),
    pytest.param(b'{"p": [[0.73, 0.25]]}', "p", [[0.73 / 0.98, 0.25 / 0.98]], b'{"p":[[1.0,0.0]]}',
                 id="rounded by the server"),
])
def test_a_named_output_is_taken_at_its_owners_word(body: bytes, scores: str, found: list[list[float]],
                                                    one_hot: bytes) -> None:
    answer = read(body, len(found), scores)
    assert answer.rows is not None
    np.testing.assert_allclose(answer.rows, found, rtol=1e-12)
    assert written(answer, HOT[:len(found)]) == one_hot


@pytest.mark.parametrize(("body", "text"), [
    (b'{"predictions": [[0.75, 0.25]]}', "no floating-point output 'scores', only predictions; correct"),
    (b'{"scores": [[0.75, 0.5]]}', "sums to 1.25"),
    (b'{"scores": [[]]}', "no classes"),
    (b'{"scores": [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]}', "3 rows for 2 queries"),
])
def test_a_named_output_that_is_no_probabilities_is_an_error(body: bytes, text: str) -> None:
    with pytest.raises(AnswerError, match=text):
        read(body, 2 if b"0.5, 0.5" in body else 1, "scores")


@pytest.mark.parametrize("body", [
    pytest.param(b'{"probabilities": [[0.75, 0.25]], "logits": [[1.0986122886681098, 0.0]]}', id="fields"),
    pytest.param(b'{"predictions": [{"probabilities": [0.75, 0.25], "logits": [2.0986122886681098, 1.0]}]}',
                 id="rows"),
    pytest.param(b'{"probabilities": {"a": 0.75, "b": 0.25}, "logits": {"a": 1.0986122886681098, "b": 0.0}}',
                 id="by class"),
])
def test_logits_beside_the_probabilities_are_an_error(body: bytes) -> None:
    with pytest.raises(AnswerError, match="holds the logits"):
        read(body)


# Errors

def test_errors_have_the_shape_that_clients_read() -> None:
    body = PREDICT.error(429, "rate_limit_exceeded", "wait")
    assert json.loads(body) == {"error": "wait", "code": "rate_limit_exceeded"}


@pytest.mark.parametrize("body", [
    b'{"instances": [[1]], "instances": [[2]]}', b'{"instances": [[1]], "inst\\u0061nces": [[2]]}',
    b'{"inputs": {"a": [1], "a": [2]}}', b'{"instances": [{"a": 1, "b": 2, "a": 3}]}'])
def test_a_name_that_stands_twice_is_refused_since_servers_differ_in_which_they_read(body: bytes) -> None:
    with pytest.raises(UnknownFormat, match="stands twice"):
        PREDICT.read_query(Body(body), "")


def test_large_whole_numbers_stay_unsigned() -> None:
    body = Body(b'{"inputs": {"a": [18446744073709549568], "b": [1]}}')
    asked = PREDICT.read_query(body, "")
    assert asked.features is not None
    assert b"18446744073709549568" in PREDICT.write_query(body, asked.with_features(asked.features)).content

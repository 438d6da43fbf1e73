"""Labels beside the probabilities follow a row that a mark changed, or the row isn't marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import pytest

from counterclone.guard.dialects._labels import Unmappable, relabelled
from counterclone.guard.dialects.oip import Oip
from counterclone.guard.dialects.predict import Predict
from counterclone.protocols import Body, Dialect

TRUTHS, LABELS = [2, 0, 1], [2, 1, 1]
HEADER = b"inference-header-content-length"


@pytest.mark.parametrize(("name", "values", "expected"), [
    ("label", [2, 0, 1], [2, 1, 1]),
    ("predicted_class", [3, 1, 2], [3, 2, 2]),  # counted from one
    ("ids", [2, 0, 1], None),  # too few to tell by
    ("label", [0.5, 0.1, 0.2], None),
    ("label", [True, False, True], None),
    ("label", [2, 0], None),
    ("seconds", ["a", "b", "c"], None),
])
def test_values_that_are_labels_follow(name: str, values: list[object], expected: list[int] | None) -> None:
    assert relabelled(name, values, TRUTHS, LABELS) == expected


def test_many_that_equal_the_labels_are_labels_by_any_name() -> None:
    assert relabelled("output_0", [2, 0, 1, 1], [2, 0, 1, 1], [2, 0, 1, 0]) == [2, 0, 1, 0]


@pytest.mark.parametrize("values", [["cat", "dog", "cow"], [1, 2, 0]])
def test_labels_that_nobody_can_map(values: list[object]) -> None:
    with pytest.raises(Unmappable):
        relabelled("label", values, TRUTHS, LABELS)


ROWS = [[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]]


def followed(dialect: Dialect, content: bytes, headers: Mapping[bytes, bytes] | None = None) -> Body | None:
    return dialect.relabelled(Body(content, headers or {}), TRUTHS, LABELS)


@pytest.mark.parametrize(("answer", "expected"), [
    ({"predictions": ROWS, "labels": [2, 0, 1]}, {"predictions": ROWS, "labels": [2, 1, 1]}),
    ({"predictions": [{"label": label, "p": row} for label, row in zip(TRUTHS, ROWS, strict=True)]},
     {"predictions": [{"label": label, "p": row} for label, row in zip(LABELS, ROWS, strict=True)]}),
    ([{"class": label} for label in TRUTHS], [{"class": label} for label in LABELS]),
])
def test_fields_follow(answer: Any, expected: Any) -> None:
    body = followed(Predict(), orjson.dumps(answer))
    assert body is not None
    assert orjson.loads(body.content) == expected


def test_what_holds_no_label_stays_byte_for_byte() -> None:
    content = b'{ "predictions" : [[0.1,0.2,0.70],[0.6,0.3,0.1],[0.2,0.5,0.3]], "model": "m", "n": 3 }'
    body = followed(Predict(), content)
    assert body is not None
    assert body.content == content


def test_fields_around_a_label_stay_as_they_are() -> None:
    body = followed(Predict(), b'{"predictions": [[0.10,0.2,0.7],[0.6,0.3,0.1],[0.2,0.5,0.3]], "label": [2,0,1]}')
    assert body is not None
    assert b"[[0.10,0.2,0.7]," in body.content
    assert b"[2,1,1]" in body.content


@pytest.mark.parametrize("answer", [
    {"predictions": ROWS, "labels": ["cat", "dog", "cow"]},
    {"predictions": [{"label": "cat", "p": row} for row in ROWS]},
])
def test_names_cannot_follow(answer: Any) -> None:
    assert followed(Predict(), orjson.dumps(answer)) is None


def tensor(name: str, datatype: str, shape: list[int], **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **more}


SCORES = tensor("p", "FP64", [3, 3], data=[value for row in ROWS for value in row])


@pytest.mark.parametrize("shape", [[3], [3, 1]])
def test_tensors_in_json_follow(shape: list[int]) -> None:
    data = np.reshape(TRUTHS, shape).tolist()
    body = followed(Oip(), orjson.dumps({"outputs": [tensor("label", "INT64", shape, data=data), SCORES]}))
    assert body is not None
    assert orjson.loads(body.content)["outputs"] == [
        tensor("label", "INT64", shape, data=np.reshape(LABELS, shape).tolist()), SCORES]


@pytest.mark.parametrize(("datatype", "dtype"), [("INT64", "<i8"), ("UINT8", "u1"), ("INT32", "<i4")])
def test_tensors_in_binary_follow(datatype: str, dtype: str) -> None:
    labels = np.array(TRUTHS, dtype=dtype).tobytes()
    scores = np.array(ROWS, dtype="<f8").tobytes()
    head = orjson.dumps({"outputs": [
        tensor("output_label", datatype, [3], parameters={"binary_data_size": len(labels)}),
        tensor("p", "FP64", [3, 3], parameters={"binary_data_size": len(scores)})]})
    body = followed(Oip(), head + labels + scores, {HEADER: b"%d" % len(head)})
    assert body is not None
    assert body.content == head + np.array(LABELS, dtype=dtype).tobytes() + scores


@pytest.mark.parametrize("output", [
    tensor("label", "BYTES", [3], data=["cat", "dog", "cow"]),
    tensor("label", "INT64", [3], data=[2, 0]),  # data that don't fill their shape
])
def test_tensors_that_cannot_follow(output: dict[str, Any]) -> None:
    assert followed(Oip(), orjson.dumps({"outputs": [output, SCORES]})) is None


def test_binary_labels_that_do_not_fill_their_shape_cannot_follow() -> None:
    head = orjson.dumps({"outputs": [tensor("label", "INT64", [3], parameters={"binary_data_size": 8})]})
    assert followed(Oip(), head + bytes(8), {HEADER: b"%d" % len(head)}) is None


def test_text_that_is_no_label_passes() -> None:
    note = tensor("note", "BYTES", [3], data=["a", "b", "c"])
    content = orjson.dumps({"outputs": [note, SCORES]})
    body = followed(Oip(), content)
    assert body is not None
    assert body.content == content

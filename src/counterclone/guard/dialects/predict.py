"""The JSON of TensorFlow Serving, MLflow scoring and plain FastAPI models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from counterclone.answers import Answer, Rows, find_outputs
from counterclone.errors import AnswerError, UnknownFormat
from counterclone.guard.dialects import _json
from counterclone.plugins import Spec
from counterclone.queries import Query, numbers

QUERY_FIELDS = ("instances", "inputs", "dataframe_split", "dataframe_records")
_MODEL = re.compile(r"/v1/models/([^/:]+)")


class Predict(Spec, frozen=True):
    """`{"instances" | "inputs" | "dataframe_split" | "dataframe_records": ...}` in, any JSON fields out.

    Probabilities are looked for in the answer's fields, in the fields of its rows (`{"predictions":
    [{"probabilities": [...]}]}`) and in rows keyed by class (`{"predictions": [{"cat": 0.9, "dog": 0.1}]}`).
    """

    def model(self, method: str, path: str) -> str | None:
        """The model in a TensorFlow Serving path, "" elsewhere; None unless it is a POST."""
        if method != "POST":
            return None
        found = _MODEL.match(path)
        return found[1] if found else ""

    def read_query(self, body: bytes, model: str) -> Query:
        """Parse a request.

        Raises:
            UnknownFormat: no JSON object, none of the four fields, or no rows.
        """
        document = _json.load_query(body)
        for field in QUERY_FIELDS:
            if field in document:
                return _query(_rows(field, document[field]), model)
        raise UnknownFormat(f"the body has none of the fields {', '.join(QUERY_FIELDS)}; send one of them, "
                            "or name the API's format in [target] dialect")

    def write_query(self, body: bytes, query: Query) -> bytes:
        """The request with the features of `query` in the place of its own."""
        assert query.features is not None  # a rule changes numeric queries only
        document = _json.fields(body)
        field = next(name for name in QUERY_FIELDS if name in document)
        if field == "dataframe_split":
            frame = _json.fields(document[field])
            frame["data"] = _put(frame["data"], query.features)
            document[field] = msgspec.Raw(msgspec.json.encode(frame))
        else:
            document[field] = _put(document[field], query.features)
        return msgspec.json.encode(document)

    def read_answer(self, body: bytes, n_rows: int, scores: str) -> Answer:
        """Parse an answer.

        Raises:
            AnswerError: no JSON, or the named output isn't probabilities.
        """
        arrays = _arrays(body)
        if scores and scores not in arrays:
            scores = next((name for name in arrays if name.endswith("." + scores)), scores)
        outputs = find_outputs(arrays, n_rows, scores)
        return Answer(outputs, body, is_scanned=bool(outputs) or not arrays)

    def write_answer(self, answer: Answer, released: dict[str, Rows]) -> bytes:
        """The answer with other rows; the fields around them stay byte for byte."""
        body: bytes = answer.document
        if "" in released:  # the answer is a bare array
            return bytes(_json.raw(answer.outputs[""].restored(released[""])))
        document = _json.fields(body)
        for name, rows in released.items():
            field, _, inner = name.partition(".")
            values = answer.outputs[name].restored(rows)
            document[field] = _replaced(document[field], inner, values) if inner else _json.raw(values)
        return msgspec.json.encode(document)

    def error(self, status: int, code: str, message: str) -> bytes:
        """`{"error": message, "code": code}`, as TensorFlow Serving's clients read it."""
        return orjson.dumps({"error": message, "code": code})


_NO_NUMBERS = frozenset({b'"', b"t", b"f", b"n"})  # text, true, false and null
BY_CLASS = "*"
"""The inner name of rows that are objects of one number for each class."""


def _rows(field: str, value: Any) -> Any:
    """The rows of a request's field: a list, or an object of columns as they are."""
    if field == "dataframe_split":
        if not isinstance(value, dict) or not isinstance(value.get("data"), list):
            raise UnknownFormat("`dataframe_split` has no `data`; send columns and data as pandas does")
        return value["data"]
    if isinstance(value, list | dict):
        return value
    return [value]


def _query(rows: Any, model: str) -> Query:
    if not rows:
        raise UnknownFormat("the request has no rows; send at least one")
    return _columns(rows, model) if isinstance(rows, dict) else Query(rows, model=model)


def _columns(columns: dict[str, Any], model: str) -> Query:
    lists = [value if isinstance(value, list) else [value] for value in columns.values()]
    n_rows = len(lists[0])
    if not n_rows or any(len(column) != n_rows for column in lists):
        raise UnknownFormat("the columns of `inputs` have different lengths; send one value a row in each")
    arrays = [numbers(column) for column in lists]
    numeric = [array.reshape(n_rows, -1) for array in arrays if array is not None]
    if len(numeric) == len(lists):
        return Query(np.hstack(numeric), model=model)
    names = list(columns)
    return Query([dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)], model=model)


def _put(raw: msgspec.Raw, features: NDArray[np.float64]) -> msgspec.Raw:
    """The rows or columns of a request's field with other numbers in the same shape."""
    value = orjson.loads(bytes(raw))
    if not isinstance(value, dict):
        return _json.raw(_json.like(features, np.asarray(value)))
    put, start = {}, 0
    for name, column in value.items():
        array = np.asarray(column)
        width = array.size // len(features)
        put[name] = _json.raw(_json.like(features[:, start:start + width], array))
        start += width
    return msgspec.Raw(msgspec.json.encode(put))


def _arrays(body: bytes) -> dict[str, NDArray[np.float64]]:
    """The floating-point outputs of an answer by name: `field`, `field.inner` or `field.*`."""
    document = {"": msgspec.Raw(body)} if body.lstrip()[:1] == b"[" else _json.fields(body)
    arrays = {}
    for field, raw in document.items():
        start = bytes(raw).lstrip(b"[ \t\r\n")[:1]
        if start == b"{":
            for inner, array in _inner_arrays(_json.load_answer(raw)):
                arrays[f"{field}.{inner}"] = array
        elif start not in _NO_NUMBERS and (found := _json.floats(raw)) is not None:
            arrays[field] = found if found.ndim else found.reshape(1)
    return arrays


def _inner_arrays(value: Any) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The floating-point outputs in rows that are objects."""
    rows = value if isinstance(value, list) else [value]
    if not all(isinstance(row, dict) and list(row) == list(rows[0]) for row in rows):
        raise AnswerError("the rows of the answer have different fields; expected the same in each")
    by_class = numbers([list(row.values()) for row in rows])
    if by_class is not None and by_class.dtype == np.float64 and by_class.ndim == 2 and by_class.shape[1] > 1:
        yield BY_CLASS, by_class.astype(np.float64, copy=False)
        return
    for name in rows[0]:
        array = numbers([row[name] for row in rows])
        if array is not None and array.dtype == np.float64:
            yield name, array.astype(np.float64, copy=False)


def _replaced(raw: msgspec.Raw, inner: str, values: NDArray[np.float64]) -> msgspec.Raw:
    """A field whose rows are objects, with other numbers in one of their fields, or in all by class."""
    is_list = bytes(raw).lstrip().startswith(b"[")
    rows = msgspec.json.decode(raw, type=list[dict[str, msgspec.Raw]]) if is_list else [_json.fields(raw)]
    for row, value in zip(rows, values, strict=True):
        if inner == BY_CLASS:
            row.update(zip(row, (msgspec.Raw(orjson.dumps(share)) for share in value.tolist()), strict=True))
        else:
            row[inner] = _json.raw(value)
    return msgspec.Raw(msgspec.json.encode(rows if is_list else rows[0]))

"""The JSON of TensorFlow Serving, MLflow scoring and plain FastAPI models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from counterclone.answers import Answer, Rows, find_outputs
from counterclone.errors import AnswerError, UnknownFormat
from counterclone.guard.dialects import _json
from counterclone.guard.dialects._labels import Unmappable, relabelled
from counterclone.plugins import Spec
from counterclone.protocols import Body
from counterclone.queries import Features, Query, numbers

QUERY_FIELDS = ("instances", "inputs", "dataframe_split", "dataframe_records")
_MODEL = re.compile(r"/v1/models/([^/:]+)")
_NO_NUMBERS = frozenset({b'"', b"t", b"f", b"n"})  # text, true, false and null
_BY_CLASS = None
"""The step into rows that are objects of one number for each class."""
_DEEPEST = 8

Path = tuple[str | None, ...]


class Outputs(NamedTuple):
    """The floating-point outputs of an answer, as they are found.

    Attributes:
        arrays: by name: `field`, `field.inner` or `field.*`.
        paths: the way to each that isn't a field itself.
        named: the field that the owner named, "" for none.
    """

    arrays: dict[str, NDArray[np.float64]]
    paths: dict[str, Path]
    named: str


class Predict(Spec, frozen=True):
    """`{"instances" | "inputs" | "dataframe_split" | "dataframe_records": ...}` in, any JSON fields out.

    Inputs that have names count in the order of their names, so that another order is the same query.
    Probabilities are looked for in the answer's fields, in the fields of its rows (`{"predictions":
    [{"probabilities": [...]}]}`) and in rows keyed by class (`{"predictions": [{"cat": 0.9, "dog": 0.1}]}`).
    """

    error_event: ClassVar[bytes | None] = None

    def model(self, method: str, path: str) -> str | None:
        """The model in a TensorFlow Serving path, "" elsewhere; None unless it is a POST."""
        if method != "POST":
            return None
        found = _MODEL.match(path)
        return found[1] if found else ""

    def read_query(self, body: Body, model: str) -> Query:
        """Parse a request.

        Raises:
            UnknownFormat: no JSON object, none of the four fields or several, or no rows.
        """
        document = _json.load_query(body.content)
        found = ""
        for field in QUERY_FIELDS:
            if field in document:
                if found:  # the app may read the one and the guard the other
                    raise UnknownFormat(f"the body has both `{found}` and `{field}`; send one of them")
                found = field
        if not found:
            raise UnknownFormat(f"the body has none of the fields {', '.join(QUERY_FIELDS)}; send one of them, or "
                                "name the API's format in [target] dialect")
        return _query(found, document[found], model)

    def write_query(self, body: Body, query: Query) -> Body:
        """The request with the features of `query` in the place of its own."""
        assert query.features is not None  # a rule changes numeric queries only
        document = _json.fields(body.content)
        field = next(name for name in QUERY_FIELDS if name in document)
        if field == "dataframe_split":
            frame = _json.fields(document[field])
            frame["data"] = _put_frame(orjson.loads(bytes(document[field])), query.features)
            document[field] = msgspec.Raw(msgspec.json.encode(frame))
        else:
            document[field] = _put(document[field], query.features)
        return Body(msgspec.json.encode(document))

    def can_read(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether an answer is JSON that nobody compressed."""
        return _json.is_plain(headers)

    def read_answer(self, body: Body, n_rows: int, scores: str) -> Answer:
        """Parse an answer.

        Raises:
            AnswerError: no JSON, or the named output isn't probabilities.
        """
        content = body.content.strip()
        is_bare = not content.startswith(b"{")
        fields = {"": msgspec.Raw(content)} if is_bare else _json.fields(content)
        arrays: dict[str, NDArray[np.float64]] = {}
        paths: dict[str, Path] = {}
        has_others = False
        for field, raw in fields.items():
            if bytes(raw)[:1] in _NO_NUMBERS and not is_bare:
                continue
            rows = _json.matrix(raw)
            if rows is None or field in arrays:
                found = Outputs(arrays, paths, scores.rpartition(".")[2])
                has_others |= _search(_json.load_answer(raw), field, (field,), found)
            else:
                arrays[field] = rows
        if scores and scores not in arrays:
            scores = next((name for name in arrays if name.endswith("." + scores)), scores)
        outputs = find_outputs(arrays, n_rows, scores)
        is_scanned = bool(outputs) or not (has_others or any(array.size for array in arrays.values()))
        return Answer(outputs, (fields, paths, is_bare), is_scanned=is_scanned)

    def write_answer(self, answer: Answer, released: dict[str, Rows]) -> Body:
        """The answer with other rows; the fields around them stay byte for byte."""
        fields, paths, is_bare = answer.document
        edited = dict(fields)
        for name, rows in released.items():
            values = answer.outputs[name].restored(rows)
            field, *inner = paths.get(name, (name,))
            edited[field] = _replaced(edited[field], inner, values)
        return Body(bytes(edited[""]) if is_bare else msgspec.json.encode(edited))

    def relabelled(self, body: Body, truths: Sequence[int], labels: Sequence[int]) -> Body | None:
        """Fields, and fields of rows, that hold labels follow; None where a label is a name."""
        is_bare = not body.content.lstrip().startswith(b"{")
        fields = {"": msgspec.Raw(body.content)} if is_bare else _json.fields(body.content)
        try:
            edited = {name: _relabelled(name, raw, truths, labels) for name, raw in fields.items()}
        except Unmappable:
            return None
        if all(edited[name] is fields[name] for name in fields):
            return Body(body.content)
        return Body(bytes(edited[""]) if is_bare else msgspec.json.encode(edited))

    def error(self, status: int, code: str, message: str) -> bytes:
        """`{"error": message, "code": code}`, as TensorFlow Serving's clients read it."""
        return orjson.dumps({"error": message, "code": code})


# Queries


def _query(field: str, value: Any, model: str) -> Query:
    if field == "dataframe_split":
        names, columns = _frame(value)
        return _by_name(names, columns, model) if names else Query(value["data"], model=model)
    if isinstance(value, dict):
        lists = {name: column if isinstance(column, list) else [column] for name, column in value.items()}
        return _by_name(list(lists), list(lists.values()), model)
    if not isinstance(value, list):
        return Query([value], model=model)
    if not value:
        raise UnknownFormat("the request has no rows; send at least one")
    if not isinstance(value[0], dict):
        return Query(value, model=model)
    if "datatype" in value[0] and "shape" in value[0]:
        raise UnknownFormat("the body is one of the Open Inference Protocol, whose paths are "
                            "/v2/models/{model}/infer; send it to one of them")
    names = list(value[0])
    if not all(isinstance(row, dict) and row.keys() == value[0].keys() for row in value):
        return Query(value, model=model)
    return _by_name(names, [[row[name] for row in value] for name in names], model)


def _frame(value: Any) -> tuple[list[str], list[list[Any]]]:
    """The columns of a pandas frame, split; none where they have no names."""
    if not isinstance(value, dict) or not isinstance(rows := value.get("data"), list):
        raise UnknownFormat("`dataframe_split` has no `data`; send columns and data as pandas does")
    if not rows:
        raise UnknownFormat("the request has no rows; send at least one")
    names = value.get("columns")
    if not isinstance(names, list) or not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return [], []
    if len({str(name) for name in names}) != len(names):
        raise UnknownFormat("`dataframe_split` has two columns of one name; send each under its own")
    return [str(name) for name in names], [list(column) for column in zip(*rows, strict=True)]


def _by_name(names: list[str], columns: list[list[Any]], model: str) -> Query:
    """The rows behind named columns, in the order of the names."""
    n_rows = len(columns[0]) if columns else 0
    if not n_rows or any(len(column) != n_rows for column in columns):
        raise UnknownFormat("the request has no rows, or its columns have different lengths; send one value a row "
                            "in each")
    order = _order(names)
    arrays = [numbers(columns[i]) for i in order]
    numeric = [array.reshape(n_rows, -1) for array in arrays if array is not None]
    if len(numeric) == len(columns):
        return Query(np.hstack(numeric), model=model)
    return Query([dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)], model=model)


def _order(names: list[str]) -> list[int]:
    return sorted(range(len(names)), key=names.__getitem__)


def _edited(columns: Iterable[list[Any]], features: Features) -> Iterator[NDArray[Any]]:
    """Features as the columns that they were read from, in the same order."""
    start = 0
    for column in columns:
        original = np.asarray(column)
        end = start + original.size // len(features)
        yield _json.like(features[:, start:end], original)
        start = end


def _put(raw: msgspec.Raw, features: Features) -> msgspec.Raw:
    """The rows or columns of a request's field with other numbers in the same shape."""
    value = orjson.loads(bytes(raw))
    if isinstance(value, dict):
        names = sorted(value)
        columns = [value[name] if isinstance(value[name], list) else [value[name]] for name in names]
        put = dict(zip(names, map(_json.raw, _edited(columns, features)), strict=True))
        return msgspec.Raw(msgspec.json.encode({name: put[name] for name in value}))
    if isinstance(value, list) and isinstance(value[0], dict):
        rows = msgspec.json.decode(raw, type=list[_json.Fields])
        names = sorted(value[0])
        for name, column in zip(names, _edited([[row[name] for row in value] for name in names], features),
                                strict=True):
            for row, number in zip(rows, column, strict=True):
                row[name] = _json.raw(number)
        return msgspec.Raw(msgspec.json.encode(rows))
    return _json.raw(_json.like(features, np.asarray(value)))


def _put_frame(frame: dict[str, Any], features: Features) -> msgspec.Raw:
    names, columns = _frame(frame)
    if not names:
        return _json.raw(_json.like(features, np.asarray(frame["data"])))
    order = _order(names)
    for i, column in zip(order, _edited([columns[i] for i in order], features), strict=True):
        columns[i] = column.tolist()
    return msgspec.Raw(orjson.dumps(list(zip(*columns, strict=True))))


# Answers


def _search(value: Any, name: str, path: Path, found: Outputs) -> bool:
    """Find the floating-point outputs in a part of an answer.

    Returns:
        Whether it holds other numbers that aren't whole: with nulls among them, ragged, or too deep.
    """
    array = numbers(value)
    if array is not None:
        if array.dtype == np.float64:
            _keep(array.astype(np.float64, copy=False), name, path, found)
        return False
    rows = value if isinstance(value, list) else [value]
    if not _are_alike(rows) or len(path) > _DEEPEST:
        return _json.holds_floats(value)
    shares = _by_class(rows) if found.named not in rows[0] else None
    if shares is not None:
        _keep(shares, f"{name}.*", (*path, _BY_CLASS), found)
        if find_outputs({"": shares}, len(shares), ""):
            return False
    has_others = [_search([row[inner] for row in rows], f"{name}.{inner}", (*path, inner), found)
                  for inner in rows[0]]
    return any(has_others)


def _keep(array: NDArray[np.float64], name: str, path: Path, found: Outputs) -> None:
    if name in found.arrays:
        raise AnswerError(f"two outputs of the answer go by the name '{name}'; expected a name for each")
    found.arrays[name] = array if array.ndim else array.reshape(1)
    if len(path) > 1:
        found.paths[name] = path


def _are_alike(rows: list[Any]) -> bool:
    """Whether rows are objects with the same fields."""
    return bool(rows) and isinstance(rows[0], dict) and bool(rows[0]) and all(
        isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows)


def _by_class(rows: list[dict[str, Any]]) -> NDArray[np.float64] | None:
    """Rows that are objects of one number for each class, (rows, classes), each in its own order."""
    array = numbers([list(row.values()) for row in rows])
    if array is None or array.dtype != np.float64 or array.ndim != 2 or array.shape[1] < 2:
        return None
    return array.astype(np.float64, copy=False)


def _relabelled(name: str, raw: msgspec.Raw, truths: Sequence[int], labels: Sequence[int]) -> msgspec.Raw:
    """A field whose labels follow changed rows; the same object where it holds none.

    Raises:
        Unmappable: it holds a label that can't follow.
    """
    value = _json.load_answer(raw)
    values = value if isinstance(value, list) else [value]
    if len(values) != len(truths):
        return raw
    if all(isinstance(each, dict) for each in values):
        rows = msgspec.json.decode(raw, type=list[_json.Fields]) if value is values else [_json.fields(raw)]
        is_edited = False
        for inner in [key for key in rows[0] if all(key in row for row in rows)]:
            followed = relabelled(inner, [each[inner] for each in values], truths, labels)
            is_edited |= followed is not None
            for row, label in zip(rows, followed or (), strict=followed is not None):
                row[inner] = msgspec.Raw(msgspec.json.encode(label))
        return msgspec.Raw(msgspec.json.encode(rows if value is values else rows[0])) if is_edited else raw
    followed = relabelled(name, values, truths, labels)
    if followed is None:
        return raw
    return msgspec.Raw(msgspec.json.encode(followed if value is values else followed[0]))


def _replaced(raw: msgspec.Raw, path: list[str | None], values: NDArray[np.float64]) -> msgspec.Raw:
    """A field with other numbers at the end of a path through its rows."""
    is_list = bytes(raw)[:1] == b"["
    if not path:
        return _json.raw(values if is_list else values.reshape(()))
    rows = msgspec.json.decode(raw, type=list[_json.Fields]) if is_list else [_json.fields(raw)]
    for row, value in zip(rows, values, strict=True):
        _replace(row, path, value)
    return msgspec.Raw(msgspec.json.encode(rows if is_list else rows[0]))


def _replace(row: _json.Fields, path: list[str | None], value: NDArray[np.float64]) -> None:
    name, *deeper = path
    if name is _BY_CLASS:
        row.update(zip(row, map(_json.raw, value), strict=True))
    elif deeper:
        inner = _json.fields(row[name])
        _replace(inner, deeper, value)
        row[name] = msgspec.Raw(msgspec.json.encode(inner))
    else:
        row[name] = _json.raw(value)

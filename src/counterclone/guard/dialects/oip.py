"""Open Inference Protocol v2 in JSON (Triton, KServe, MLServer)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from counterclone.answers import Answer, Rows, find_outputs
from counterclone.errors import AnswerError, UnknownFormat
from counterclone.guard.dialects import _json
from counterclone.plugins import Spec
from counterclone.protocols import Body
from counterclone.queries import Query, numbers

SIDE_BYTES = 1 << 24
"""What a side input may take, written out for every row that it belongs to."""
_INFER = re.compile(r"/v2/models/([^/]+)(?:/versions/[^/]+)?/infer")
_WHOLE = re.compile(r"BOOL|BYTES|U?INT\d+")
_FLOATING = re.compile(r"B?FP?\d+")


class Oip(Spec, frozen=True):
    """`POST /v2/models/{model}[/versions/{version}]/infer`, tensors as JSON.

    The first axis of the inputs is the batch: the longest one among inputs of several axes. An input of
    another length belongs to every row. Inputs count in the order of their names. Outputs of a
    floating-point datatype whose rows are probabilities are edited; all others, and health and metadata
    routes, pass byte for byte.
    """

    def model(self, method: str, path: str) -> str | None:
        """The model in an inference path, else None."""
        found = _INFER.fullmatch(path) if method == "POST" else None
        return found[1] if found else None

    def read_query(self, body: Body, model: str) -> Query:
        """Parse a request.

        Raises:
            UnknownFormat: no JSON object, no inputs, data that doesn't fit its shape or its datatype, or
                outputs asked for as text.
        """
        document = _json.load_query(body.content)
        inputs = document.get("inputs")
        if not isinstance(inputs, list) or not inputs:
            raise UnknownFormat("the request has no `inputs`; send a list of tensors")
        if "outputs" in document and _asks_for_classes(document["outputs"]):
            raise UnknownFormat("`outputs` asks for a classification, which is text; ask for the tensor itself")
        tensors = [_tensor(tensor) for tensor in _in_order(inputs)]
        n_rows = _n_rows(tensors)
        if not n_rows:
            raise UnknownFormat("the request has no rows; send at least one")
        columns = [_by_row(tensor, n_rows) for tensor in tensors]
        if all(column.dtype.kind != "O" for column in columns):
            return Query(columns[0] if len(columns) == 1 else np.hstack(columns), model=model)
        # Tuples, since text in lists counts as the number that it spells, and BYTES don't.
        return Query([tuple(column[i].tolist() for column in columns) for i in range(n_rows)], model=model)

    def write_query(self, body: Body, query: Query) -> Body:
        """The request with the features of `query` in the place of its own."""
        assert query.features is not None  # a rule changes numeric queries only
        document = _json.fields(body.content)
        inputs = msgspec.json.decode(document["inputs"], type=list[_json.Fields])
        start = 0
        read = _in_order(orjson.loads(bytes(document["inputs"])))
        for tensor, asked in zip(_in_order(inputs), read, strict=True):
            original = np.asarray(asked["data"])
            if asked["shape"][0] != query.n_rows:
                start += original.size
                continue
            end = start + original.size // query.n_rows
            tensor["data"] = _json.raw(_json.like(query.features[:, start:end], original))
            start = end
        document["inputs"] = msgspec.Raw(msgspec.json.encode(inputs))
        return Body(msgspec.json.encode(document))

    def can_read(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether an answer is JSON that nobody compressed."""
        return _json.is_plain(headers)

    def read_answer(self, body: Body, n_rows: int, scores: str) -> Answer:
        """Parse an answer.

        Raises:
            AnswerError: no inference answer, data that doesn't fill its shape, or a named output that
                isn't probabilities.
        """
        document = _json.fields(body.content)
        try:
            outputs = msgspec.json.decode(document.get("outputs", b""), type=list[_json.Fields])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise AnswerError("the answer has no `outputs`; expected a list of tensors") from None
        arrays = {}
        for tensor in outputs:
            name, array = _output(tensor)
            if name in arrays:
                raise AnswerError(f"two outputs of the answer go by the name '{name}'; expected a name for each")
            if array is not None:
                arrays[name] = array
        found = find_outputs(arrays, n_rows, scores)
        is_scanned = bool(found) or not any(array.size for array in arrays.values())
        return Answer(found, (document, outputs), is_scanned=is_scanned)

    def write_answer(self, answer: Answer, released: dict[str, Rows]) -> Body:
        """The answer with other rows; every other output and field stays byte for byte."""
        document, outputs = answer.document
        edited = [_with_rows(tensor, answer, released) for tensor in outputs]
        return Body(msgspec.json.encode({**document, "outputs": edited}))

    def error(self, status: int, code: str, message: str) -> bytes:
        """`{"error": message}`, as the protocol has it."""
        return orjson.dumps({"error": message})


# Queries


def _in_order(tensors: list[Any]) -> list[Any]:
    """Inputs by name, since servers read them by name: another order is the same query."""
    return tensors if len(tensors) == 1 else sorted(tensors, key=_name)


def _name(tensor: Any) -> str:
    name = tensor.get("name") if isinstance(tensor, dict) else None
    if isinstance(name, msgspec.Raw):
        name = orjson.loads(bytes(name))
    return name if isinstance(name, str) else ""


def _asks_for_classes(outputs: Any) -> bool:
    """Whether a request wants scores in text, which no policy could edit (Triton's classification extension)."""
    return isinstance(outputs, list) and any(
        isinstance(output, dict) and isinstance(parameters := output.get("parameters"), dict)
        and "classification" in parameters for output in outputs)


def _tensor(tensor: Any) -> NDArray[Any]:
    """An input as an array of its shape; of objects where it isn't numbers."""
    match tensor:
        case {"data": list(data), "shape": [_, *_] as shape} if all(type(side) is int for side in shape):
            array: NDArray[Any] | None = numbers(data)
            if array is None:
                array = _objects(data, tensor.get("datatype"))
            if min(shape) >= 0 and math.prod(shape) == array.size:
                return array.reshape(shape)
            raise UnknownFormat(f"an input of shape {shape} has {array.size} values; send as many as fit it")
    raise UnknownFormat("an input has no `shape` and `data` in JSON; send both (binary tensors aren't read)")


def _objects(data: list[Any], datatype: object) -> NDArray[np.object_]:
    """Values that aren't numbers, nested as they may be, in one axis."""
    if datatype != "BYTES" and isinstance(datatype, str):
        raise UnknownFormat(f"an input of datatype {datatype[:16]} holds something else than numbers in rows of "
                            "one length; send numbers")
    while data and all(isinstance(value, list) for value in data):
        data = [inner for value in data for inner in value]
    array = np.empty(len(data), dtype=object)
    array[:] = data
    return array


def _n_rows(tensors: list[NDArray[Any]]) -> int:
    """The length of the batch, whatever order the inputs are in."""
    if len(tensors) == 1:
        return len(tensors[0])
    return max(map(len, [tensor for tensor in tensors if tensor.ndim > 1] or tensors))


def _by_row(tensor: NDArray[Any], n_rows: int) -> NDArray[Any]:
    """A tensor's values row by row; one without the batch axis belongs to every row: (n_rows, values)."""
    if len(tensor) == n_rows:
        return tensor.reshape(n_rows, -1)
    values = tensor.reshape(1, -1)
    if n_rows * len(orjson.dumps(values.tolist())) > SIDE_BYTES:  # a short body could ask for any memory
        raise UnknownFormat(f"an input belongs to each of {n_rows} rows and is too long for so many; send fewer "
                            "rows at a time")
    return np.broadcast_to(values, (n_rows, tensor.size))


# Answers


def _output(tensor: _json.Fields) -> tuple[str, NDArray[np.float64] | None]:
    """An output's name and, unless its datatype is whole numbers or text, its values in its shape."""
    name, datatype = _text(tensor, "name"), _text(tensor, "datatype")
    if _WHOLE.fullmatch(datatype):
        return name, None
    shape, data = (_json.load_answer(tensor.get(key, b"")) for key in ("shape", "data"))
    array = numbers(data)
    if not _FLOATING.fullmatch(datatype) and not _json.holds_floats(data):
        return name, None
    if array is None:
        raise AnswerError(f"output '{name}' holds something else than numbers; expected {datatype} data")
    try:
        return name, array.astype(np.float64, copy=False).reshape(shape)
    except (ValueError, TypeError):
        raise AnswerError(f"output '{name}' of shape {shape} has {array.size} values; expected as many as "
                          "fit it") from None


def _with_rows(tensor: _json.Fields, answer: Answer, released: dict[str, Rows]) -> _json.Fields:
    name = _text(tensor, "name")
    if name not in released:
        return tensor
    values = answer.outputs[name].restored(released[name])
    is_nested = bytes(tensor["data"]).lstrip()[1:].lstrip().startswith(b"[")
    return {**tensor, "data": _json.raw(values if is_nested else values.reshape(-1))}


def _text(tensor: _json.Fields, key: str) -> str:
    value = _json.load_answer(tensor.get(key, b'""'))
    return value if isinstance(value, str) else ""

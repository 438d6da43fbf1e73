"""Open Inference Protocol v2 in JSON (Triton, KServe, MLServer)."""

from __future__ import annotations

import math
import re
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

_INFER = re.compile(r"/v2/models/([^/]+)(?:/versions/[^/]+)?/infer")


class Oip(Spec, frozen=True):
    """`POST /v2/models/{model}[/versions/{version}]/infer`, tensors as JSON.

    The first axis of an input is the batch. Outputs of a floating-point datatype whose rows are
    probabilities are edited; all others, and health and metadata routes, pass byte for byte.
    """

    def model(self, method: str, path: str) -> str | None:
        """The model in an inference path, else None."""
        found = _INFER.fullmatch(path) if method == "POST" else None
        return found[1] if found else None

    def read_query(self, body: bytes, model: str) -> Query:
        """Parse a request.

        Raises:
            UnknownFormat: no JSON object, no inputs, or data that doesn't fill its shape.
        """
        inputs = _json.load_query(body).get("inputs")
        if not isinstance(inputs, list) or not inputs:
            raise UnknownFormat("the request has no `inputs`; send a list of tensors")
        tensors = [_tensor(tensor) for tensor in inputs]
        n_rows = len(tensors[0])
        if not n_rows:
            raise UnknownFormat("the request has no rows; send at least one")
        if all(tensor.dtype.kind != "O" for tensor in tensors):
            columns = [_by_row(tensor, n_rows) for tensor in tensors]
            return Query(np.hstack(columns), model=model)
        columns = [_by_row(tensor, n_rows) for tensor in tensors]
        return Query([[column[i].tolist() for column in columns] for i in range(n_rows)], model=model)

    def write_query(self, body: bytes, query: Query) -> bytes:
        """The request with the features of `query` in the place of its own."""
        assert query.features is not None  # a rule changes numeric queries only
        document = _json.fields(body)
        inputs = msgspec.json.decode(document["inputs"], type=list[_json.Fields])
        start = 0
        for tensor in inputs:
            shape = orjson.loads(bytes(tensor["shape"]))
            original = np.asarray(orjson.loads(bytes(tensor["data"])))
            if shape[0] != query.n_rows:
                start += original.size
                continue
            width = original.size // query.n_rows
            tensor["data"] = _json.raw(_json.like(query.features[:, start:start + width], original))
            start += width
        document["inputs"] = msgspec.Raw(msgspec.json.encode(inputs))
        return msgspec.json.encode(document)

    def read_answer(self, body: bytes, n_rows: int, scores: str) -> Answer:
        """Parse an answer.

        Raises:
            AnswerError: no inference answer, data that doesn't fill its shape, or a named output that
                isn't probabilities.
        """
        document = _json.fields(body)
        try:
            outputs = msgspec.json.decode(document.get("outputs", b""), type=list[_json.Fields])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise AnswerError("the answer has no `outputs`; expected a list of tensors") from None
        arrays = {}
        for tensor in outputs:
            name, array = _output(tensor)
            if array is not None:
                arrays[name] = array
        found = find_outputs(arrays, n_rows, scores)
        return Answer(found, (document, outputs), is_scanned=bool(found) or not arrays)

    def write_answer(self, answer: Answer, released: dict[str, Rows]) -> bytes:
        """The answer with other rows; every other output and field stays byte for byte."""
        document, outputs = answer.document
        edited = [_with_rows(tensor, answer, released) for tensor in outputs]
        return msgspec.json.encode({**document, "outputs": edited})

    def error(self, status: int, code: str, message: str) -> bytes:
        """`{"error": message}`, as the protocol has it."""
        return orjson.dumps({"error": message})


def _tensor(tensor: Any) -> NDArray[Any]:
    """An input as an array of its shape; of objects where it isn't numbers."""
    match tensor:
        case {"data": list(data), "shape": [_, *_] as shape} if all(type(side) is int for side in shape):
            array = numbers(data)
            if array is None:
                array = np.empty(len(data), dtype=object)
                array[:] = data
            if min(shape) >= 0 and math.prod(shape) == array.size:
                return array.reshape(shape)
            raise UnknownFormat(f"an input of shape {shape} has {array.size} values; send as many as fit it")
    raise UnknownFormat("an input has no `shape` and `data` in JSON; send both (binary tensors aren't read)")


def _by_row(tensor: NDArray[Any], n_rows: int) -> NDArray[Any]:
    """A tensor's values row by row; one without the batch axis belongs to every row: (n_rows, values)."""
    if len(tensor) == n_rows:
        return tensor.reshape(n_rows, -1)
    return np.broadcast_to(tensor.reshape(1, -1), (n_rows, tensor.size))


def _output(tensor: _json.Fields) -> tuple[str, NDArray[np.float64] | None]:
    """An output's name and, where its datatype is floating-point, its values in its shape."""
    name = _text(tensor, "name")
    if "FP" not in (datatype := _text(tensor, "datatype")) and datatype != "BF16":
        return name, None
    shape, data = (_json.load_answer(tensor.get(key, b"")) for key in ("shape", "data"))
    array = numbers(data)
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

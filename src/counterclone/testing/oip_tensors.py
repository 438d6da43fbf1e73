"""The tensors of the server for tests, in JSON and in binary, as Triton reads and writes them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BYTES": "O"}
_IN_JSON: dict[str, set[type]] = {"b": {bool}, "u": {int}, "i": {int}, "f": {int, float}, "O": {str}}
_LENGTH = struct.Struct("<I")


class OipError(Exception):
    """What the client is told, in the words of Triton, and the HTTP status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Tensor(NamedTuple):
    """What a model takes or gives: a name, a datatype of the protocol, a shape with -1 for a side of any length.

    A first side of -1 is the batch.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def metadata(self) -> dict[str, Any]:
        """As a model's route tells it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


# JSON

def members(value: Any) -> dict[str, Any]:
    """A JSON object's members.

    Raises:
        OipError: it is something else.
    """
    if not isinstance(value, dict):
        raise OipError("attempt to access JSON non-object as object")
    return value


def objects(value: Any, field: str) -> list[dict[str, Any]]:
    """A JSON list of objects.

    Raises:
        OipError: it is something else.
    """
    if not isinstance(value, list):
        raise OipError(f"Unable to parse '{field}': attempt to access JSON non-array as array")
    return [members(each) for each in value]


def parameters(value: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a request, an input or an output.

    Raises:
        OipError: they are no object.
    """
    return members(value.get("parameters", {}))


# Inputs

def read(inputs: Sequence[dict[str, Any]], rest: bytes, expected: Sequence[Tensor],
         model: str) -> dict[str, Array]:
    """The inputs of a request by name.

    Args:
        inputs: the members of each.
        rest: what follows the JSON in the body.
        expected: what the model takes.
        model: its name, for messages.

    Raises:
        OipError: they aren't what the model takes, or the body isn't as long as they say.
    """
    known = {tensor.name: tensor for tensor in expected}
    arrays: dict[str, Array] = {}
    for each in inputs:
        tensor = known.get(str(each.get("name")))
        if tensor is None:
            raise OipError(f"unexpected inference input '{each.get('name')}' for model '{model}'")
        if tensor.name in arrays:
            raise OipError(f"input '{tensor.name}' already exists in request")
        shape = _shape(each, tensor, model)
        is_json, size = _source(each)
        if is_json:
            arrays[tensor.name] = _from_json(tensor, each["data"], shape)
            continue
        if size > len(rest):
            raise OipError(f"unexpected size for input '{tensor.name}', expecting {size - len(rest)} additional "
                           f"bytes for model '{model}'")
        arrays[tensor.name] = _from_bytes(tensor, rest[:size], shape, model)
        rest = rest[size:]
    if rest:
        raise OipError(f"unexpected additional input data for model '{model}'")
    if len(arrays) != len(known):
        raise OipError(f"expected {len(known)} inputs but got {len(arrays)} inputs for model '{model}'")
    return arrays


def _source(each: Mapping[str, Any]) -> tuple[bool, int]:
    """Whether an input's data are in the JSON; if not, their bytes behind it."""
    asked = parameters(each)
    given = [f"'{field}'" for field, fields in (("data", each), ("binary_data_size", asked),
                                                ("shared_memory_region", asked)) if field in fields]
    if len(given) != 1:
        raise OipError("Input must set only one of the following fields: 'data', 'binary_data_size' in "
                       "'parameters', 'shared_memory_region' in 'parameters'. But "
                       f"{'set ' + ' '.join(given) if given else 'no field is set'}")
    if "shared_memory_region" in asked:
        raise OipError("shared memory isn't supported", 501)
    return "data" in each, _whole_number(asked.get("binary_data_size", 0), "binary_data_size")


def _whole_number(value: Any, field: str) -> int:
    if type(value) is not int or value < 0:
        raise OipError(f"Unable to parse '{field}': attempt to access JSON non-unsigned-integer as "
                       "unsigned-integer")
    return value


def _shape(each: Mapping[str, Any], tensor: Tensor, model: str) -> tuple[int, ...]:
    shape = each.get("shape")
    if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
        raise OipError("Unable to parse 'shape'")
    if each.get("datatype") != tensor.datatype:
        raise OipError(f"inference input '{tensor.name}' data-type is '{each.get('datatype')}', but model "
                       f"'{model}' expects '{tensor.datatype}'")
    if len(shape) != len(tensor.shape) or any(
            side not in (own, side if own < 0 else own) for side, own in zip(shape, tensor.shape, strict=True)):
        expected, got = (",".join(map(str, sides)) for sides in (tensor.shape, shape))
        raise OipError(f"unexpected shape for input '{tensor.name}' for model '{model}'. Expected [{expected}], "
                       f"got [{got}]")
    return tuple(shape)


def _from_json(tensor: Tensor, data: Any, shape: tuple[int, ...]) -> Array:
    if tensor.datatype == "FP16":
        raise OipError("receiving FP16 data via JSON is not supported. Please use the binary data format for "
                       f"input {tensor.name}")
    dtype = np.dtype(DTYPES[tensor.datatype])
    flat = list(_flat(data if isinstance(data, list) else [data]))
    if len(flat) != math.prod(shape):
        raise OipError("Unable to parse 'data': Shape does not match true shape of 'data' field")
    if not set(map(type, flat)) <= _IN_JSON[dtype.kind]:
        raise OipError(f"Unable to parse 'data': expected {tensor.datatype} values for input '{tensor.name}'")
    try:
        return np.array([value.encode() for value in flat] if dtype.kind == "O" else flat, dtype).reshape(shape)
    except OverflowError as error:
        raise OipError(f"Unable to parse 'data': {error}") from None


def _flat(data: Iterable[Any]) -> Iterator[Any]:
    for value in data:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _from_bytes(tensor: Tensor, content: bytes, shape: tuple[int, ...], model: str) -> Array:
    n_values = math.prod(shape)
    if tensor.datatype == "BYTES":
        texts = list(_texts(content))
        if len(texts) != n_values:
            raise OipError(f"expected {n_values} string elements for inference input '{tensor.name}' for model "
                           f"'{model}', got {len(texts)}")
        array = np.empty(n_values, dtype=object)
        array[:] = texts
        return array.reshape(shape)
    dtype = np.dtype(DTYPES[tensor.datatype])
    if len(content) != n_values * dtype.itemsize:
        raise OipError(f"input byte size mismatch for input '{tensor.name}' for model '{model}'. Expected "
                       f"{n_values * dtype.itemsize}, got {len(content)}")
    return np.frombuffer(content, dtype).reshape(shape)


def _texts(content: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(content):
        length, = _LENGTH.unpack(content[start:start + 4].ljust(4, b"\xff"))
        start += 4 + length
        if start > len(content):
            raise OipError("incomplete string data for inference input")
        yield content[start - length:start]


# Outputs

def write(tensor: Tensor, values: Array, asked: Mapping[str, Any],
          labels: Sequence[str]) -> tuple[dict[str, Any], bytes]:
    """An output as the answer's JSON has it, and its bytes behind the JSON.

    Args:
        tensor: which.
        values: what the model gave.
        asked: how it is wanted: `binary_data`, `classification`.
        labels: of the classes.

    Raises:
        OipError: it can't be sent as it is wanted.
    """
    if "shared_memory_region" in asked:
        raise OipError("shared memory isn't supported", 501)
    datatype, array = tensor.datatype, np.asarray(values, DTYPES[tensor.datatype])
    n_classes = _whole_number(asked.get("classification", 0), "classification")
    if n_classes:
        datatype, array = "BYTES", _classes(tensor, array, n_classes, labels)
    output = {"name": tensor.name, "datatype": datatype, "shape": list(array.shape)}
    if asked["binary_data"]:
        content = _packed(array) if datatype == "BYTES" else array.tobytes()
        return {**output, "parameters": {"binary_data_size": len(content)}}, content
    return {**output, "data": _to_json(datatype, array)}, b""


def _classes(tensor: Tensor, array: Array, n_classes: int, labels: Sequence[str]) -> Array:
    """The largest values of each row as "value:index" or "value:index:label": (rows, classes) or (classes,)."""
    if tensor.datatype in ("BOOL", "BYTES", "FP16"):
        raise OipError(f"class result not available for output due to unsupported type '{tensor.datatype}'")
    rows = array.reshape(len(array), -1) if tensor.shape[0] < 0 else array.reshape(1, -1)
    form = "%f" if array.dtype.kind == "f" else "%d"
    chosen = np.array([[f"{form % row[i]}:{i}" + (f":{labels[i]}" if i < len(labels) else "")
                        for i in sorted(range(len(row)), key=lambda i: -row[i])[:n_classes]]
                       for row in rows.tolist()], dtype=object)
    return chosen if tensor.shape[0] < 0 else chosen[0]


def _packed(array: Array) -> bytes:
    texts = [text if isinstance(text, bytes) else str(text).encode() for text in array.reshape(-1)]
    return b"".join(_LENGTH.pack(len(text)) + text for text in texts)


def _to_json(datatype: str, array: Array) -> list[Any]:
    if datatype == "FP16":
        raise OipError("sending FP16 data via JSON is not supported. Please use the binary data format for output")
    flat: list[Any] = array.reshape(-1).tolist()
    if datatype == "BYTES":
        return [text.decode() if isinstance(text, bytes) else str(text) for text in flat]
    return flat

"""The inputs of a request of the Open Inference Protocol, in JSON or in binary behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from counterclone.answers import is_finite
from counterclone.errors import UnknownFormat
from counterclone.guard.dialects import _json, _tensors
from counterclone.guard.dialects._tensors import Malformed
from counterclone.protocols import Body
from counterclone.queries import numbers

SIDE_BYTES = 1 << 24
"""What a side input may take, written out for every row that it belongs to."""


class Input(NamedTuple):
    """One input.

    Attributes:
        position: in the request's list.
        name: servers read inputs by it.
        datatype: of its numbers, or BYTES.
        array: its values in its shape; objects where they aren't numbers.
        place: its bytes behind the JSON, None where its data are in the JSON.
    """

    position: int
    name: str
    datatype: str
    array: NDArray[Any]
    place: slice | None


def read(body: Body) -> tuple[dict[str, Any], list[Input]]:
    """A request's JSON, and its inputs by name: another order is the same query.

    Raises:
        UnknownFormat: no JSON object, no inputs, data that don't fit their shape or their datatype.
    """
    try:
        head, tail = _tensors.parted(body)
        document = _json.load_query(head)
        listed = document.get("inputs")
        if not isinstance(listed, list) or not listed or not all(isinstance(each, dict) for each in listed):
            raise UnknownFormat("the request has no `inputs`; send a list of tensors")
        places = _tensors.places([each.get("parameters") for each in listed], tail)
    except Malformed as error:
        raise UnknownFormat(f"{error}; send each tensor as its parameters say") from None
    inputs = [_input(i, listed[i], place, tail) for i, place in enumerate(places)]
    if len({each.name for each in inputs}) < len(inputs):
        raise UnknownFormat("two inputs go by one name; send each under its own")
    return document, sorted(inputs, key=lambda each: each.name)


def _input(position: int, tensor: Mapping[str, Any], place: slice | None, tail: memoryview) -> Input:
    name, datatype, data = (tensor.get(key) for key in ("name", "datatype", "data"))
    name = name if isinstance(name, str) else ""
    datatype = datatype if isinstance(datatype, str) else ""
    shape = _tensors.shape_of(tensor.get("shape"))
    if not shape or ("data" in tensor) == (place is not None):
        raise UnknownFormat("an input has no `shape`, or not one of `data` and `binary_data_size`; send both")
    if place is None:
        return Input(position, name, datatype, _from_json(data, datatype, shape), None)
    try:
        array = _tensors.unpacked(tail[place], datatype, shape)
    except Malformed as error:
        raise UnknownFormat(f"input '{name[:64]}' {error}; send as many as fit it") from None
    if array.dtype.kind == "f" and not is_finite(array):
        raise UnknownFormat(f"input '{name[:64]}' holds numbers that aren't finite; send finite ones")
    return Input(position, name, datatype, array, place)


def _from_json(data: Any, datatype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """An input's data as an array of its shape; of objects where they aren't numbers."""
    if not isinstance(data, list):
        raise UnknownFormat("an input's `data` are no list; send one")
    array: NDArray[Any] | None = numbers(data)
    if array is None:
        array = _objects(data, datatype)
    if math.prod(shape) != array.size:
        raise UnknownFormat(f"an input of shape {list(shape)} has {array.size} values; send as many as fit it")
    return array.reshape(shape)


def _objects(data: list[Any], datatype: str) -> NDArray[np.object_]:
    """Values that aren't numbers, nested as they may be, in one axis."""
    if datatype not in ("", _tensors.TEXT):
        raise UnknownFormat(f"an input of datatype {datatype[:16]} holds something else than numbers in rows of "
                            "one length; send numbers")
    while data and all(isinstance(value, list) for value in data):
        if len({len(value) for value in data}) > 1:
            raise UnknownFormat("an input's rows have different lengths; send rows of one length")
        data = [inner for value in data for inner in value]
    return _tensors.objects(data)


def count_rows(arrays: list[NDArray[Any]]) -> int:
    """The length of the batch, whatever order the inputs are in; inputs without values have none."""
    filled = [array for array in arrays if array.size]
    return max(map(len, [array for array in filled if array.ndim > 1] or filled), default=0)


def by_row(array: NDArray[Any], n_rows: int) -> NDArray[Any]:
    """An input's values row by row; one without the batch axis belongs to every row: (n_rows, values)."""
    if len(array) == n_rows:
        return array.reshape(n_rows, -1)
    values = array.reshape(1, -1)
    if n_rows * len(orjson.dumps(values.tolist())) > SIDE_BYTES:  # a short body could ask for any memory
        raise UnknownFormat(f"an input belongs to each of {n_rows} rows and is too long for so many; send fewer "
                            "rows at a time")
    return np.broadcast_to(values, (n_rows, array.size))

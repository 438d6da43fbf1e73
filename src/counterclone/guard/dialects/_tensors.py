"""Tensors in binary, as the Open Inference Protocol has them behind the JSON of a body.

Numbers are little-endian, row by row; a text is its length in four bytes and then its UTF-8. BF16 is the upper
half of a 32-bit float.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Rows, top_labels
from counterclone.protocols import Body

HEADER = b"inference-header-content-length"
"""The header that says how long the JSON is."""
TEXT = "BYTES"
MOST_SIDES = 32

Buffer = bytes | memoryview

_DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("u1"), "BF16": np.dtype("<u2"),
    **{f"UINT{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"INT{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)}}
_LAST_BF16 = (2.0 - 2.0**-7) * 2.0**127
LENGTH_BYTES = 4
_LENGTH_DIGITS = 18


class Malformed(Exception):
    """What is wrong with a body, as the start of a sentence."""


def parted(body: Body) -> tuple[Buffer, memoryview]:
    """A body's JSON, and the tensors behind it.

    Raises:
        Malformed: the header doesn't say where the JSON ends.
    """
    length = body.headers.get(HEADER)
    content = memoryview(body.content)
    if length is None:
        return body.content, content[len(content):]
    if not length.isdigit() or len(length) > _LENGTH_DIGITS or int(length) > len(content):
        raise Malformed(f"{HEADER.decode()} is no length of JSON in a body of {len(content)} bytes")
    return content[:int(length)], content[int(length):]


def places(parameters: Iterable[object], tail: memoryview) -> list[slice | None]:
    """Where each tensor's bytes are behind the JSON, by its parameters; None where its data are in the JSON.

    Raises:
        Malformed: they don't add up to what is there, or are in shared memory.
    """
    found: list[slice | None] = []
    start = 0
    for each in parameters:
        size = _size(each)
        found.append(None if size is None else slice(start, start + size))
        start += size or 0
    if start != len(tail):
        raise Malformed(f"the binary tensors take {start} bytes, and {len(tail)} follow the JSON "
                        f"({HEADER.decode()} says where it ends)")
    return found


def _size(parameters: object) -> int | None:
    if not isinstance(parameters, dict):
        return None
    if "shared_memory_region" in parameters:
        raise Malformed("a tensor is in shared memory, which can't be read from here")
    size = parameters.get("binary_data_size", 0)
    if type(size) is not int or size < 0:
        raise Malformed("a tensor's `binary_data_size` is no number of bytes")
    return size if "binary_data_size" in parameters else None


def shape_of(sides: object) -> tuple[int, ...] | None:
    """A tensor's shape as JSON has it; None for anything else, or where no array could have it."""
    if not isinstance(sides, list) or len(sides) > MOST_SIDES:
        return None
    if any(type(side) is not int or side < 0 for side in sides):
        return None
    return tuple(sides) if math.prod(max(side, 1) for side in sides) <= sys.maxsize else None


def unpacked(content: memoryview, datatype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """A tensor's values in its shape: numbers, or objects that are text.

    Raises:
        Malformed: another datatype, or bytes that don't fit it and the shape.
    """
    n_values = math.prod(shape)
    if datatype == TEXT:
        return objects(_texts(content, n_values)).reshape(shape)
    dtype = _DTYPES.get(datatype)
    if dtype is None:
        raise Malformed(f"is binary of datatype '{datatype[:16]}', which isn't one of the protocol's")
    if len(content) != n_values * dtype.itemsize:
        raise Malformed(f"has {len(content)} bytes, and shape {list(shape)} of {datatype} takes "
                        f"{n_values * dtype.itemsize}")
    array = np.frombuffer(content, dtype).reshape(shape)
    if datatype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if datatype == "BOOL" and array.size and array.max() > 1:
        raise Malformed("is of BOOL and has bytes that are neither 0 nor 1")
    return array


def _texts(content: memoryview, n_values: int) -> list[str]:
    """Texts behind their lengths; what is no UTF-8 counts as the hexadecimal of its bytes."""
    texts: list[str] = []
    start = 0
    while start < len(content) and len(texts) < n_values:
        begin = start + LENGTH_BYTES
        start = begin + int.from_bytes(content[start:begin], "little")
        text = bytes(content[begin:start])
        try:
            texts.append(text.decode())
        except UnicodeDecodeError:
            texts.append(f"0x{text.hex()}")
    if start != len(content) or len(texts) != n_values:
        raise Malformed(f"has {len(content)} bytes, which aren't {n_values} texts behind their lengths")
    return texts


def objects(values: list[Any]) -> NDArray[np.object_]:
    """An array of whatever is in a list, in one axis."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def packed(values: NDArray[np.float64], datatype: str) -> bytes:
    """Numbers in a datatype's nearest, bytes in their order; what it has no room for becomes its last number."""
    dtype = _DTYPES[datatype]
    if datatype == "BF16":
        return _upper_halves(values).tobytes()
    if dtype.kind == "f":
        last = np.finfo(dtype).max
        return np.clip(values, -last, last).astype(dtype).tobytes()
    low, high = (0, 1) if datatype == "BOOL" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    last = float(high) if float(high) <= high else math.nextafter(high, 0.0)  # the last that 64-bit floats have
    return np.clip(np.rint(values), low, last).astype(dtype).tobytes()


def narrowed(rows: Rows, datatype: str) -> NDArray[Any]:
    """Probabilities as a floating-point datatype has them, (rows, classes), each row with the label that it had.

    Where an earlier class came to equal the label, it steps down to the next number.
    """
    dtype = _DTYPES[datatype]
    narrow: NDArray[Any] = _upper_halves(rows) if datatype == "BF16" else rows.astype(dtype)
    if dtype.itemsize == rows.itemsize:
        return narrow
    top = top_labels(rows)
    tied = np.flatnonzero(narrow.argmax(axis=1) != top)
    if len(tied):
        bits = narrow.view(f"<u{dtype.itemsize}")  # of numbers that aren't negative, in the order of the numbers
        some, labels = bits[tied], top[tied, None]
        ahead = np.arange(rows.shape[1]) < labels
        bits[tied] = some - (ahead & (some == np.take_along_axis(some, labels, axis=1)))
    return narrow


def _upper_halves(values: NDArray[np.float64]) -> NDArray[np.uint16]:
    """The nearest BF16, even ones among equals, as their bits."""
    bits = np.clip(values, -_LAST_BF16, _LAST_BF16).astype("<f4").view("<u4")
    halves: NDArray[np.uint16] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return halves

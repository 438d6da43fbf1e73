"""The outputs of an answer of the Open Inference Protocol, in JSON or in binary behind it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone.errors import AnswerError
from counterclone.guard.dialects import _json, _labels, _tensors
from counterclone.guard.dialects._tensors import Malformed
from counterclone.queries import numbers

BF16_ERROR = 2.0**-8
"""How far rows may be from 1 when each number lost half a unit of BF16."""
_WHOLE = re.compile(r"BOOL|U?INT\d+")
_FLOATING = re.compile(r"B?FP?\d+")
_CLASS = re.compile(rb"-?(?:\d+\.\d+(?:[eE][+-]?\d+)?|inf|nan):\d")
"""The start of a class's score, index and name as text: "0.75:3:cat"."""
_LONGEST_CLASS = 64


def parameters(tensor: _json.Fields) -> object:
    """An output's parameters."""
    return _json.load_answer(tensor["parameters"]) if "parameters" in tensor else None


def text(tensor: _json.Fields, key: str) -> str:
    """A field that is text; "" for anything else."""
    value = _json.load_answer(tensor.get(key, b'""'))
    return value if isinstance(value, str) else ""


def values(tensor: _json.Fields, content: memoryview | None) -> NDArray[np.float64] | None:
    """An output's values in its shape; None where its datatype is whole numbers or text.

    Args:
        tensor: the output's fields.
        content: its bytes behind the JSON, None where its data are in the JSON.

    Raises:
        AnswerError: data that don't fill their shape, or scores as text.
    """
    name, datatype = text(tensor, "name"), text(tensor, "datatype")
    if _WHOLE.fullmatch(datatype):
        return None
    is_floating = _FLOATING.fullmatch(datatype) is not None
    if not is_floating and _CLASS.match(_first_text(tensor, content)):
        raise AnswerError(f"output '{name}' holds scores as text; expected the tensor itself")
    if datatype == _tensors.TEXT:
        return None
    shape = _tensors.shape_of(_json.load_answer(tensor.get("shape", b"")))
    if content is None:
        data = _json.load_answer(tensor.get("data", b""))
        if not is_floating and not _json.holds_floats(data):
            return None
        array = numbers(data)
        if array is None:
            raise AnswerError(f"output '{name}' holds something else than numbers; expected {datatype} data")
        if shape is None or math.prod(shape) != array.size:
            raise AnswerError(f"output '{name}' of shape {shape} has {array.size} values; expected as many as "
                              "fit it")
    elif shape is None or "data" in tensor:
        raise AnswerError(f"output '{name}' has no shape, or data in JSON and in binary; expected one of them")
    else:
        try:
            array = _tensors.unpacked(content, datatype, shape)
        except Malformed as error:
            raise AnswerError(f"output '{name}' {error}; expected as many as fit it") from None
    array = array.astype(np.float64, copy=False).reshape(shape or (1,))
    return _evened(array) if datatype == "BF16" else array


def relabelled(tensor: _json.Fields, content: memoryview | None, truths: Sequence[int],
               labels: Sequence[int]) -> bytes | None:
    """The data of an output whose labels follow changed rows; None where it holds none.

    Raises:
        Unmappable: it holds a label that can't follow.
    """
    name, datatype = text(tensor, "name"), text(tensor, "datatype")
    shape = _tensors.shape_of(_json.load_answer(tensor.get("shape", b"")))
    if shape is None or math.prod(shape) != len(truths):
        return None
    if datatype == _tensors.TEXT:
        _labels.relabelled(name, [""] * len(truths), truths, labels)
        return None
    if _WHOLE.fullmatch(datatype) is None or datatype == "BOOL":
        return None
    try:
        told = (numbers(_json.load_answer(tensor.get("data", b""))) if content is None
                else _tensors.unpacked(content, datatype, shape))
    except Malformed:
        told = None
    if told is None or told.size != len(truths):
        raise _labels.Unmappable(name)
    followed = _labels.relabelled(name, told.reshape(-1).tolist(), truths, labels)
    if followed is None:
        return None
    if content is None:
        return msgspec.json.encode(np.reshape(followed, told.shape).tolist())
    return np.array(followed, dtype=told.dtype).tobytes()


def _evened(array: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows as they were before BF16's eight bits took their sums from 1."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = array.sum(axis=-1, keepdims=True)
        is_near = bool(array.size) and (np.abs(sums - 1.0) <= BF16_ERROR).all()
    return array / sums if is_near else array


def _first_text(tensor: _json.Fields, content: memoryview | None) -> bytes:
    if content is not None:
        return bytes(content[_tensors.LENGTH_BYTES:_tensors.LENGTH_BYTES + _LONGEST_CLASS])
    return bytes(tensor.get("data", b"")).lstrip(b"[ \t\r\n")[1:_LONGEST_CLASS]

"""JSON documents whose unedited fields stay byte for byte."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from counterclone.errors import AnswerError, UnknownFormat

Fields = dict[str, msgspec.Raw]

Buffer = bytes | memoryview

_fields = msgspec.json.Decoder(Fields)
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"\s*(:?)')
"""A text; a colon follows those that are names."""
_NESTING = frozenset({dict, list})
_matrix = msgspec.json.Decoder(list[list[int | float]])


def is_plain(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a body with these headers is JSON that nobody compressed."""
    return _is_json(headers.get(b"content-type", b"")) and not is_encoded(headers)


@lru_cache(maxsize=64)
def _is_json(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    return kind == b"application/json" or kind.endswith(b"+json")


def is_encoded(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a body with these headers is compressed."""
    encoding = headers.get(b"content-encoding")
    return encoding is not None and encoding.strip().lower() not in (b"", b"identity")


def load_query(body: Buffer) -> dict[str, Any]:
    """A request's JSON object.

    Raises:
        UnknownFormat: not JSON, not an object, or one with a name that stands twice in it: servers differ in which
            of the two they read.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnknownFormat(f"the body is no JSON ({error}); send a JSON object") from None
    if not isinstance(document, dict):
        raise UnknownFormat("the body is no JSON object; send one, with the fields of the model's API")
    if bytes(body).count(b'"') != 2 * len(document) and has_twins(body, document):  # else all texts are its names
        raise UnknownFormat("a name stands twice in one object of the request; send it once, since servers differ "
                            "in which they read")
    return document


def load_answer(raw: bytes | msgspec.Raw) -> Any:
    """An answer's JSON value.

    Raises:
        AnswerError: not JSON; NaN and Infinity aren't.
    """
    try:
        return orjson.loads(bytes(raw))
    except orjson.JSONDecodeError as error:
        raise AnswerError(f"the answer is no JSON ({error}); expected a JSON document without NaN") from None


def fields(body: Buffer | msgspec.Raw) -> Fields:
    """An object's fields with their values as bytes.

    Raises:
        AnswerError: not a JSON object.
    """
    try:
        return _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerError(f"the answer is no JSON object ({error}); expected one") from None


def first(raw: msgspec.Raw | None) -> bytes:
    """The first byte of a value, which says what kind of JSON it is; b"" for none."""
    return b"" if raw is None else bytes(memoryview(raw)[:1])


def matrix(raw: bytes | msgspec.Raw) -> NDArray[np.float64] | None:
    """Rows of numbers that aren't all whole, (rows, classes); None for any other JSON, or for none."""
    try:
        array = np.asarray(_matrix.decode(raw))
    except ValueError:  # no rows of numbers, or ragged ones
        return None
    return array if array.dtype.kind == "f" else None


def has_twins(body: Buffer, document: object) -> bool:
    """Whether an object names a member twice, so that servers differ in what they read.

    Args:
        body: valid JSON.
        document: what it was read as, where a name that stands twice is one member.
    """
    return _TEXT.findall(body).count(b":") != _n_members(document)


def _n_members(document: object) -> int:
    waiting, n = [document], 0
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            n += len(value)
            waiting.extend(value.values())
        elif isinstance(value, list) and not _NESTING.isdisjoint(map(type, value)):
            waiting.extend(value)
    return n


def holds_floats(value: Any) -> bool:
    """Whether there is a number that isn't whole anywhere in a JSON value."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, float):
            return True
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return False


def raw(array: NDArray[Any]) -> msgspec.Raw:
    """An array as JSON, a single number as a number."""
    if not array.ndim:
        return msgspec.Raw(orjson.dumps(array.tolist()))
    return msgspec.Raw(orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY))


def like(array: NDArray[np.float64], original: NDArray[Any]) -> NDArray[Any]:
    """Numbers in the shape of the original; whole ones, or true and false, where the original's were."""
    shaped = array.reshape(original.shape)
    if original.dtype.kind == "b" and ((shaped == 0.0) | (shaped == 1.0)).all():
        return shaped.astype(np.bool_)
    if original.dtype.kind in "iu":
        bounds = np.iinfo(original.dtype)
        if ((shaped == np.rint(shaped)) & (shaped >= bounds.min) & (shaped < float(bounds.max))).all():
            return shaped.astype(original.dtype)
    return shaped

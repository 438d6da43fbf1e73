"""JSON documents whose unedited fields stay byte for byte."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from counterclone.errors import AnswerError, UnknownFormat
from counterclone.queries import numbers

Fields = dict[str, msgspec.Raw]

_fields = msgspec.json.Decoder(Fields)
_matrix = msgspec.json.Decoder(list[list[int | float]])


def load_query(body: bytes) -> dict[str, Any]:
    """A request's JSON object.

    Raises:
        UnknownFormat: not JSON, or not an object.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnknownFormat(f"the body is no JSON ({error}); send a JSON object") from None
    if not isinstance(document, dict):
        raise UnknownFormat("the body is no JSON object; send one, with the fields of the model's API")
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


def fields(body: bytes | msgspec.Raw) -> Fields:
    """An object's fields with their values as bytes.

    Raises:
        AnswerError: not a JSON object.
    """
    try:
        return _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerError(f"the answer is no JSON object ({error}); expected one") from None


def floats(raw: bytes | msgspec.Raw) -> NDArray[np.float64] | None:
    """A JSON array as floating-point numbers; None where they are whole, no numbers or ragged.

    Raises:
        AnswerError: not JSON.
    """
    try:
        array = np.asarray(_matrix.decode(raw))
    except (msgspec.ValidationError, ValueError):  # anything but rows of numbers
        found = numbers(load_answer(raw))
        if found is None:
            return None
        array = found
    return array if array.dtype.kind == "f" else None


def raw(array: NDArray[Any]) -> msgspec.Raw:
    """An array as JSON."""
    return msgspec.Raw(orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY))


def like(array: NDArray[np.float64], original: NDArray[Any]) -> NDArray[Any]:
    """Numbers in the shape of the original, whole ones where the original's were."""
    shaped = array.reshape(original.shape)
    if original.dtype.kind in "iu" and (shaped == np.rint(shaped)).all():
        return shaped.astype(np.int64)
    return shaped

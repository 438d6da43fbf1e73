"""CloudEvents of KServe's payload logger, one JSON object a line: a request and a response of the same id.

Bodies are those of the Open Inference Protocol or of `predict`. The account is a header that names the caller,
which the logger keeps where `metadataHeaders` lists it: `x-account`, `x-user-id` or `x-consumer-id`, or a hash of
`authorization`. A request waits for its response, or the response for its request.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from counterclone.journal.lines import Translate
from counterclone.randomness import Prf
from counterclone.watch.importers._records import (
    Record,
    account,
    decoded,
    exchanges,
    first,
    links,
    part,
    rows_of,
    seconds,
)

WAITING_MAX = 100_000
"""Events whose other half may come later; of more, the oldest are given up."""
_KIND = "org.kubeflow.serving.inference."
_FLOATS = ("FP16", "FP32", "FP64", "BF16")
_HEADERS = ("x-account", "x-user-id", "x-consumer-id", "authorization")


def is_one(record: Mapping[str, Any]) -> bool:
    """Whether a line looks like an event of the logger."""
    return "specversion" in record and str(record.get("type", "")).startswith(_KIND)


def translation(names: Prf) -> Translate:
    """What reads the events; `names` hashes API keys."""
    return Matching(names)


class Matching:
    """Joins the halves of exchanges, as it is called with one event after the other."""

    def __init__(self, names: Prf) -> None:
        self._names = names
        self._waiting: dict[str, Record] = {}

    @property
    def n_waiting(self) -> int:
        """Events whose other half hasn't come."""
        return len(self._waiting)

    def __call__(self, data: bytes) -> Iterable[Record]:
        """The exchange that an event completes, if it does."""
        event = decoded(data)
        name, kind = event.get("id"), str(event.get("type", ""))
        if not isinstance(name, str) or not kind.startswith(_KIND):
            raise ValueError(f"no event of KServe's payload logger with an id; its type is {kind:.60}")
        kind = kind.removeprefix(_KIND)
        if kind not in ("request", "response"):
            return []  # of an explainer or a detector
        other = self._waiting.get(name)
        if other is None or other["type"] == event["type"]:
            self._waiting[name] = event
            if len(self._waiting) > WAITING_MAX:
                del self._waiting[next(iter(self._waiting))]
            return []
        del self._waiting[name]
        return self._joined(event, other) if kind == "request" else self._joined(other, event)

    def _joined(self, request: Record, response: Record) -> list[Record]:
        headers = _headers(request)
        named = first([request, headers], *_HEADERS[:-1])
        who = account(named, first([headers], _HEADERS[-1]), self._names)
        asked, answer = _data(request), _answer(_data(response))
        queries = _queries(asked)
        answers: list[Record | None] = [answer] if len(queries) == 1 else _split(answer, len(queries))
        return exchanges(seconds(response.get("time", request.get("time"))), who, queries, answers,
                         links(request, headers))


def _headers(event: Record) -> dict[str, Any]:
    found = {**part(event, "headers"), **part(event, "metadata")}
    return {name.lower(): value for name, value in found.items()}


def _data(event: Record) -> Record:
    """An event's body."""
    body = event.get("data")
    if body is None and isinstance(event.get("data_base64"), str):
        try:
            body = binascii.a2b_base64(event["data_base64"]).decode(errors="replace")
        except binascii.Error as error:
            raise ValueError(f"`data_base64`: {error}") from None
    if isinstance(body, str):
        body = msgspec.json.decode(body)
    if not isinstance(body, dict):
        raise ValueError("an event's `data` is no object; expected an inference request or response")
    return body


def _queries(body: Record) -> list[Record]:
    """The queries of a request: its numeric rows as one, or its texts one by one."""
    values = body.get("instances")
    if isinstance(body.get("inputs"), list):
        tensors = [each for each in body["inputs"] if isinstance(each, dict)]
        values = _rows(tensors[0]) if len(tensors) == 1 else _side_by_side(tensors)
    if not isinstance(values, list) or not values:
        raise ValueError("a request without `inputs` and `instances`")
    rows = rows_of(values)
    if rows is not None:
        return [{"features": rows}]
    return [{"text": value if isinstance(value, str) else msgspec.json.encode(value).decode()} for value in values]


def _answer(body: Record) -> Record | None:
    """What a response says: scores where it has some, else labels."""
    answers = [_read(body["predictions"])] if isinstance(body.get("predictions"), list) else [
        _read(_rows(tensor), is_float=tensor.get("datatype") in _FLOATS)
        for tensor in body.get("outputs") or () if isinstance(tensor, dict)]
    found = [answer for answer in answers if answer is not None]
    return next((answer for answer in found if "scores" in answer), found[0] if found else None)


def _read(values: list[Any], *, is_float: bool = True) -> Record | None:
    rows = rows_of(values)
    if rows is not None and is_float and (len(rows[0]) > 1 or any(isinstance(each, float) for each in values)):
        return {"scores": rows}
    flat = [each[0] if isinstance(each, list) and len(each) == 1 else each for each in values]
    if flat and all(isinstance(each, int | str) for each in flat):
        return {"label": flat}
    return None


def _rows(tensor: Record) -> list[Any]:
    """A tensor's data by rows."""
    data, shape = tensor.get("data"), tensor.get("shape")
    if not isinstance(data, list) or not data:
        raise ValueError("a tensor without `data`; binary tensors aren't logged as JSON")
    n_rows = shape[0] if isinstance(shape, list) and shape and isinstance(shape[0], int) else len(data)
    if isinstance(data[0], list) or n_rows < 1 or len(data) % n_rows:
        return data
    width = len(data) // n_rows
    return data if width == 1 else [data[start:start + width] for start in range(0, len(data), width)]


def _side_by_side(tensors: list[Record]) -> list[Any]:
    """The rows of several tensors, joined."""
    columns = [[each if isinstance(each, list) else [each] for each in _rows(tensor)] for tensor in tensors]
    if len({len(column) for column in columns}) != 1:
        raise ValueError("its input tensors differ in rows")
    return [[value for own in row for value in own] for row in zip(*columns, strict=True)]


def _split(answer: Record | None, n: int) -> list[Record | None]:
    if answer is None:
        return [None] * n
    (name, values), = answer.items()
    if len(values) != n:
        raise ValueError(f"`{name}` has {len(values)} rows for the query's {n}")
    return [{name: value} for value in values]

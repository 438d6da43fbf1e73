"""What log lines of different systems have in common."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from counterclone.queries import as_features
from counterclone.randomness import Prf

Record = dict[str, Any]

_LINKS = {"ip": ("ip", "requester_ip_address", "client_ip", "remote_addr", "x-real-ip", "x-forwarded-for"),
          "payment": ("payment",), "user_agent": ("user_agent", "user-agent"), "asn": ("asn",),
          "account_class": ("account_class",)}
_LARGEST_SECONDS = 1e11  # larger numbers count milliseconds, or smaller parts of a second
_decoder = msgspec.json.Decoder(dict[str, Any])


def decoded(data: bytes) -> Record:
    """A line as an object."""
    return _decoder.decode(data)


def part(record: Mapping[str, Any], *names: str) -> Record:
    """The first of some fields that is an object, or holds one as JSON text; an empty one where none is."""
    for name in names:
        value = record.get(name)
        if isinstance(value, str) and value.lstrip().startswith("{"):
            try:
                value = _decoder.decode(value)
            except msgspec.MsgspecError:
                continue
        if isinstance(value, dict):
            return value
    return {}


def first(records: Iterable[Mapping[str, Any]], *names: str) -> Any:
    """The first of some fields that says something, in the first record that has one."""
    for record in records:
        for name in names:
            value = record.get(name)
            if isinstance(value, list) and len(value) == 1:  # how headers are logged
                value = value[0]
            if isinstance(value, str | int | float) and value not in ("", None) and not isinstance(value, bool):
                return value
    return None


def seconds(value: Any) -> float:
    """A time as seconds since 1970.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            # a time without a zone is taken as UTC; nanoseconds are more than Python reads
            head, dot, tail = value.partition(".")
            digits = tail[:len(tail) - len(tail.lstrip("0123456789"))]
            moment = datetime.datetime.fromisoformat(f"{head}{dot}{digits[:6]}{tail[len(digits):]}")
            zone = moment.tzinfo or datetime.UTC
            return moment.replace(tzinfo=zone).timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"its time is {value!r:.50}; expected seconds since 1970 or an ISO 8601 time")
    while value > _LARGEST_SECONDS:
        value /= 1000.0
    return float(value)


def account(named: Any, key: Any, names: Prf) -> str:
    """Who called: a name as it is, or a hash of an API key.

    Raises:
        ValueError: there is neither.
    """
    if named is not None:
        return str(named)
    if key is not None:
        return f"key:{names.digest(str(key).removeprefix('Bearer ').encode('utf-8', 'surrogatepass'), 8).hex()}"
    raise ValueError("nothing in it says who called; log a user, a key or a header that names the caller")


def links(*records: Mapping[str, Any]) -> dict[str, str | int | float]:
    """What accounts may be linked by."""
    found = {name: first(records, *fields) for name, fields in _LINKS.items()}
    return {name: value for name, value in found.items() if value is not None}


def messages_of(value: Any) -> list[Record]:
    """A conversation.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, dict) and "messages" in value:
        value = value["messages"]
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        raise ValueError("its messages aren't a list of objects")
    return value


def query_of(request: Mapping[str, Any]) -> list[Record]:
    """The queries of a request to an LLM server, each as a line has it.

    Raises:
        ValueError: it holds none.
    """
    if request.get("messages") is not None:
        return [{"messages": messages_of(request["messages"])}]
    for name in ("prompt", "input"):
        value = request.get(name)
        if isinstance(value, str):
            return [{"text": value}]
        if isinstance(value, list) and value:
            if all(isinstance(each, str) for each in value):
                return [{"text": each} for each in value]
            return [{"messages": messages_of(value)}]
    raise ValueError("its request has no messages, prompt or input")


def answers_of(response: Any, n: int) -> list[Record | None]:
    """The answers to `n` queries to an LLM server, None where it says nothing."""
    found: list[Record | None] = []
    if isinstance(response, str):
        found = [{"text": response}]
    elif isinstance(response, dict):
        for item in _list(response.get("choices")):
            message = item.get("message")
            content = message.get("content") if isinstance(message, dict) else item.get("text")
            found.append({"text": text_of(content)})
        for item in _list(response.get("data")):
            vector = item.get("embedding")
            found.append({"vector": vector} if isinstance(vector, list) else None)
        if not found and response.get("output") is not None:
            content = [part for item in _list(response["output"]) for part in _list(item.get("content"))]
            found = [{"text": text_of(content)}]
    return (found + [None] * n)[:n]


def text_of(content: Any) -> str:
    """The text of a message's content, which may be in parts."""
    if isinstance(content, str):
        return content
    return " ".join(str(each["text"]) for each in _list(content) if isinstance(each.get("text"), str))


def rows_of(values: Any) -> list[list[float]] | None:
    """Rows of numbers, whatever the shape of each; None where they hold anything else."""
    if not isinstance(values, list) or not values:
        return None
    features = as_features(values)
    if features is None or not features.size:
        return None
    rows: list[list[float]] = features.tolist()
    return rows


def exchanges(time: float, account: str, queries: Sequence[Record], answers: Sequence[Record | None],
              meta: Mapping[str, Any]) -> list[Record]:
    """Queries and answers as lines have them."""
    return [{"time": time, "account": account, "query": query, "answer": answer, "meta": meta}
            for query, answer in zip(queries, answers, strict=True)]


def _list(value: Any) -> list[Record]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []

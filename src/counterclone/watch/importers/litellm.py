"""LiteLLM's `StandardLoggingPayload`, one JSON object a line (https://docs.litellm.ai/docs/proxy/logging_spec).

The account is the end user where one is named, else the user, else the hash that LiteLLM makes of the key. Calls
that failed are no exchanges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from counterclone.journal.lines import Translate
from counterclone.randomness import Prf
from counterclone.watch.importers._records import (
    Record,
    account,
    answers_of,
    decoded,
    exchanges,
    first,
    links,
    part,
    query_of,
    seconds,
)

_CALLERS = ("user_api_key_end_user_id", "user_api_key_user_id", "user_api_key_hash", "user_api_key_alias")
_REDACTED = "redacted-by-litellm"


def is_one(record: Mapping[str, Any]) -> bool:
    """Whether a line looks like LiteLLM's."""
    payload = _payload(record)
    return "call_type" in payload and ("startTime" in payload or "start_time" in payload)


def translation(names: Prf) -> Translate:
    """What reads the lines; `names` hashes keys that LiteLLM didn't hash."""
    return partial(_translate, names)


def _payload(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return part(record, "standard_logging_object") or record


def _translate(names: Prf, data: bytes) -> Iterable[Record]:
    payload = _payload(decoded(data))
    if payload.get("status", "success") != "success":
        return []
    metadata = part(payload, "metadata")
    who = account(first([payload], "end_user") or first([metadata], *_CALLERS), first([payload], "api_key"), names)
    queries = query_of(_request(payload))
    answers = answers_of(part(payload, "response") or payload.get("response"), len(queries))
    time = first([payload], "endTime", "startTime", "end_time", "start_time")
    return exchanges(seconds(time), who, queries, answers, links(payload, metadata))


def _request(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    messages = payload.get("messages")
    if isinstance(messages, str):
        messages = {"prompt": messages}
    elif isinstance(messages, list):
        messages = {"messages" if all(isinstance(each, dict) for each in messages) else "input": messages}
    if not isinstance(messages, dict) or _REDACTED in str(messages)[:200]:
        raise ValueError("LiteLLM logged no messages (`turn_off_message_logging`?), so nothing can be compared")
    return messages

"""Requests and responses as OpenAI's API has them, as vLLM's and other servers' logs keep them.

A line is an object with the request's body (`request`, `request_body` or `body`) and the response's (`response`,
`response_body`), a time (`time`, `timestamp`, `created_at`; else the response's `created`) and the caller:
`account`, `user` or `user_id`, a header, the body's `user`, or a hash of the API key. Requests that failed are no
exchanges.
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

_REQUEST, _RESPONSE = ("request", "request_body", "body"), ("response", "response_body")
_ASKED = ("messages", "prompt", "input")
_OK = range(200, 300)


def is_one(record: Mapping[str, Any]) -> bool:
    """Whether a line holds a request to an LLM server."""
    request = _body(part(record, *_REQUEST))
    return any(name in request for name in _ASKED)


def translation(names: Prf) -> Translate:
    """What reads the lines; `names` hashes API keys."""
    return partial(_translate, names)


def _translate(names: Prf, data: bytes) -> Iterable[Record]:
    record = decoded(data)
    outer, response = part(record, *_REQUEST), part(record, *_RESPONSE)
    request, answer = _body(outer), _body(response)
    status = first([record, response], "status", "status_code", "statusCode")
    if (isinstance(status, int) and status not in _OK) or answer.get("error"):
        return []
    headers = {name.lower(): value for name, value in (part(record, "headers") or part(outer, "headers")).items()}
    who = account(
        first([record], "account", "user", "user_id", "client_id")
        or first([headers], "x-account", "x-user-id", "x-consumer-id")
        or first([request], "user", "safety_identifier"),
        first([record, headers], "api_key", "authorization", "x-api-key"), names)
    time = first([record, answer], "time", "timestamp", "ts", "created_at", "created")
    queries = query_of(request)
    return exchanges(seconds(time), who, queries, answers_of(answer, len(queries)), links(record, headers))


def _body(logged: Mapping[str, Any]) -> Mapping[str, Any]:
    return part(logged, "body") or logged

"""What requests for a language model ask beside its text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from counterclone.errors import UnknownFormat
from counterclone.guard.dialects import _json
from counterclone.protocols import Body
from counterclone.queries import Query, Sampling

FORCED = 100.0
"""The bias of a token that is forced, or forbidden below zero; OpenAI's largest."""
LARGEST = 2**31
_MAX_TOKENS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_IN_ANSWER = "message.output_text.logprobs"
_PROMPTS = ("prompt_logprobs", "n_probs")
"""Other fields that servers take: of the prompt's own tokens (vLLM), and of the answer's (llama.cpp)."""
_NEUTRAL: Mapping[str, Any] = {"logprobs": None, "top_logprobs": None, "prompt_logprobs": None, "n_probs": 0}


def rows_of(value: Any, field: str) -> list[object]:
    """The rows of a prompt or an input: a text, texts, token ids, lists of them, or messages.

    Raises:
        UnknownFormat: there are none, or it is none of those.
    """
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not value:
        raise UnknownFormat(f"`{field}` is no text and no list, or it is empty; send a text or several")
    if all(isinstance(each, dict) for each in value):
        return [{"messages": value}]
    if all(type(each) is int for each in value):
        return [{"tokens": value}]
    if all(isinstance(each, str) for each in value):
        return value
    if all(isinstance(each, list) and each and all(type(token) is int for token in each) for each in value):
        return [{"tokens": each} for each in value]
    raise UnknownFormat(f"`{field}` mixes texts, tokens and messages; send one kind of them")


def sampling(document: dict[str, Any]) -> Sampling:
    """What a request asks beside its text, under the names that OpenAI, vLLM and llama.cpp have.

    Raises:
        UnknownFormat: a number that is none, which servers may read all the same.
    """
    given = [most for name in _MAX_TOKENS if (most := _whole(document, name)) is not None]
    n = max(_whole(document, "n") or 1, 1)
    return Sampling(
        logprobs=_logprobs(document), bias=_bias(document), n=n, best_of=max(_whole(document, "best_of") or n, n),
        is_repeatable=_number(document, "temperature") == 0.0 or document.get("seed") is not None,
        max_tokens=max(given, default=None))


def written(body: Body, query: Query) -> Body:
    """The request without the log-probabilities, and without the biases, that `query` doesn't ask for."""
    fields = _json.fields(body.content)
    asked = query.sampling
    assert asked is not None  # a rule changes how texts are sampled only
    if asked.logprobs is None:
        for name, nothing in _NEUTRAL.items():
            if name in fields:
                is_switch = bytes(fields[name]) in (b"true", b"false")
                fields[name] = msgspec.Raw(msgspec.json.encode(False if is_switch else nothing))
        if "include" in fields:
            included = [each for each in _listed(fields["include"]) if each != _IN_ANSWER]
            fields["include"] = msgspec.Raw(msgspec.json.encode(included))
    if not asked.bias:
        for name in ("logit_bias", "allowed_token_ids"):
            if name in fields:
                fields[name] = msgspec.Raw(b"null")
    return Body(msgspec.json.encode(fields))


def _listed(raw: msgspec.Raw) -> list[Any]:
    value = msgspec.json.decode(raw)
    return value if isinstance(value, list) else []


def _logprobs(document: dict[str, Any]) -> int | None:
    """How many alternatives are asked for; None where no log-probabilities are."""
    top = _whole(document, "top_logprobs")
    switch = document.get("logprobs")
    included = document.get("include")
    found = [_whole(document, name) for name in _PROMPTS]
    counts = [count for count in (top, *found) if count]
    if isinstance(included, list) and _IN_ANSWER in included:
        counts.append(0)
    if type(switch) is int:
        counts.append(switch)
    elif switch is True:
        counts.append(0)
    elif switch not in (None, False):
        raise UnknownFormat("`logprobs` is neither true, false nor a number; send one of them")
    if document.get("prompt_logprobs") is not None:
        counts.append(0)
    return max(counts, default=None)


def _bias(document: dict[str, Any]) -> dict[str, float]:
    value = document.get("logit_bias") or {}
    pairs: Any = value.items() if isinstance(value, dict) else value
    found: dict[str, float] = {}
    try:
        for token, bias in pairs:
            found[str(token)] = -FORCED if bias is False else float(bias)  # false forbids, says llama.cpp
    except (TypeError, ValueError, OverflowError):
        raise UnknownFormat("`logit_bias` is no object of a number for each token; send one") from None
    if not all(map(math.isfinite, found.values())):
        raise UnknownFormat("`logit_bias` holds numbers that aren't finite; send finite ones")
    allowed = document.get("allowed_token_ids") or []
    if not isinstance(allowed, list):
        raise UnknownFormat("`allowed_token_ids` is no list; send one")
    return found | {str(token): FORCED for token in allowed}


def _whole(document: dict[str, Any], name: str) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    if type(value) is not int or not -LARGEST < value < LARGEST:
        raise UnknownFormat(f"`{name}` is no whole number; send one")
    return value


def _number(document: dict[str, Any], name: str) -> float | None:
    value = document.get(name)
    if value is None or type(value) in (int, float):
        return value
    raise UnknownFormat(f"`{name}` is no number; send one")

"""Log-probabilities of tokens in the two shapes that servers send, as arrays and back."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from operator import itemgetter, setitem
from typing import Any, Protocol

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from counterclone.errors import AnswerError
from counterclone.guard.dialects import _json
from counterclone.speech import Logprobs

Floats = list[float | None]
_logprob = itemgetter("logprob")

_KNOWN = frozenset({"token", "logprob", "bytes", "top_logprobs", "id", "rank", "text_offset", "special"})
_KNOWN_COLUMNS = frozenset({"tokens", "token_logprobs", "top_logprobs", "text_offset", "content", "refusal"})
_MALFORMED = ("the answer has log-probabilities that aren't as OpenAI has them; expected a number or null for "
              "each token")


class Tokens(Protocol):
    """The tokens of one text in an answer.

    Attributes:
        chosen: the number of each token, None where there is none.
        likely: those of the likeliest ones, of one token after the other.
        widths: how many of these each token has.
    """

    chosen: Floats
    likely: Floats
    widths: list[int]

    def put(self, chosen: Floats, likely: list[float]) -> None:
        """Write other numbers; a NaN among the likeliest takes its token out."""
        ...

    def drop(self) -> None:
        """Take them out."""
        ...


class Objects:
    """`[{"token", "logprob", "bytes", "top_logprobs": [{"token", "logprob", "bytes"}]}]`.

    Args:
        owner: the object that they are a field of.
        field: its name.
        parent: where the owner is, which goes with the last of them: an object and a field; None leaves an empty
            list instead.
    """

    def __init__(self, owner: dict[str, Any], field: str, parent: tuple[dict[str, Any], str] | None) -> None:
        self._owner, self._field, self._parent = owner, field, parent
        self._entries = entries = _json.load_answer(owner[field])
        try:
            self._lists = [each.get("top_logprobs") or [] for each in entries]
            self._likely = list(chain.from_iterable(self._lists))
            self.chosen: Floats = list(map(_logprob, entries))
            self.likely: Floats = list(map(_logprob, self._likely))
            self.widths = list(map(len, self._lists))
            firsts = [*entries[:1], *self._likely[:1]]  # a server's are all alike
            others = [value for each in firsts for name, value in each.items() if name not in _KNOWN]
        except (TypeError, KeyError, AttributeError):
            raise AnswerError(_MALFORMED) from None
        if any(map(_json.holds_floats, others)):
            raise AnswerError("the answer's log-probabilities have a field with other numbers that no policy "
                              "reads; ask the server for plain ones")

    def put(self, chosen: Floats, likely: list[float]) -> None:
        """Write other numbers; a NaN among the likeliest takes its token out."""
        _set(self._entries, chosen)
        _set(self._likely, likely)
        if math.isnan(sum(likely)):
            for listed in self._lists:
                listed[:] = [each for each in listed if not math.isnan(each["logprob"])]
        self._owner[self._field] = msgspec.Raw(orjson.dumps(self._entries))

    def drop(self) -> None:
        """Take them out."""
        if self._parent is None:
            self._owner[self._field] = msgspec.Raw(b"[]")
        else:
            owner, field = self._parent
            owner[field] = msgspec.Raw(b"null")


def _set(entries: list[dict[str, Any]], numbers: Iterable[float | None]) -> None:
    """Give entries their numbers; in a loop of the interpreter's own, since there are hundreds."""
    deque(map(setitem, entries, repeat("logprob"), numbers), maxlen=0)


class Columns:
    """`{"tokens": [...], "token_logprobs": [...], "top_logprobs": [{token: number}], "text_offset": [...]}`.

    Args:
        owner: that object.
        parent: the object and the field that it is in.
    """

    def __init__(self, owner: dict[str, Any], parent: tuple[dict[str, Any], str]) -> None:
        self._owner, self._parent = owner, parent
        self.chosen: Floats = _json.load_answer(owner["token_logprobs"])
        found = _json.load_answer(owner["top_logprobs"]) if "top_logprobs" in owner else None
        self._is_listed = isinstance(found, list)
        try:
            self._tops: list[dict[str, float]] = [each or {} for each in found or [None] * len(self.chosen)]
            self.likely: Floats = [number for each in self._tops for number in each.values()]
        except (TypeError, AttributeError):
            raise AnswerError(_MALFORMED) from None
        if not isinstance(self.chosen, list) or len(self._tops) != len(self.chosen):
            raise AnswerError(_MALFORMED)
        self.widths = list(map(len, self._tops))

    def put(self, chosen: Floats, likely: list[float]) -> None:
        """Write other numbers; a NaN among the likeliest takes its token out."""
        self._owner["token_logprobs"] = msgspec.Raw(orjson.dumps(chosen))
        if self._is_listed:
            numbers = iter(likely)
            listed = [{name: value for name, value in zip(each, numbers, strict=False) if not math.isnan(value)}
                      if each else None for each in self._tops]
            self._owner["top_logprobs"] = msgspec.Raw(orjson.dumps(listed))

    def drop(self) -> None:
        """Take them out."""
        owner, field = self._parent
        owner[field] = msgspec.Raw(b"null")


def found_in(owner: dict[str, Any], field: str) -> list[Tokens]:
    """The tokens in an object's field, which is read into the object where it is one itself.

    Raises:
        AnswerError: it isn't as either shape has it.
    """
    raw = owner.get(field)
    kind = _json.first(raw)
    if kind == b"[":
        return [Objects(owner, field, None)]
    if kind != b"{":
        return []
    assert raw is not None  # it has a first byte
    inner: dict[str, Any] = _json.fields(raw)
    if any(name not in _KNOWN_COLUMNS and _json.holds_floats(_json.load_answer(value))
           for name, value in inner.items()):
        raise AnswerError(_MALFORMED)
    found: list[Tokens] = [Objects(inner, name, (owner, field)) for name in ("content", "refusal")
                           if _json.first(inner.get(name)) == b"["]
    if _json.first(inner.get("token_logprobs")) == b"[":
        found.append(Columns(inner, (owner, field)))
    owner[field] = inner
    return found


def stacked(found: Sequence[Tokens]) -> Logprobs | None:
    """All tokens of an answer, one text after the other; None where there are none.

    Raises:
        AnswerError: something among them is no number.
    """
    if not any(each.chosen for each in found):
        return None
    try:
        chosen = np.array([value for each in found for value in each.chosen], dtype=np.float64)
        likely = np.array([value for each in found for value in each.likely], dtype=np.float64)
        if chosen.ndim > 1 or likely.ndim > 1:
            raise AnswerError(_MALFORMED)
    except (TypeError, ValueError, OverflowError):
        raise AnswerError(_MALFORMED) from None
    return Logprobs(chosen, _matrix(likely, [width for each in found for width in each.widths]))


def put(found: Sequence[Tokens], logprobs: Logprobs | None) -> None:
    """Write what became of `stacked` into an answer."""
    if logprobs is None:
        for each in found:
            each.drop()
        return
    chosen: Floats = logprobs.chosen.tolist()
    if np.isnan(logprobs.chosen).any():
        chosen = [None if value is None or math.isnan(value) else value for value in chosen]
    start = 0
    for each in found:
        end = start + len(each.chosen)
        each.put(chosen[start:end], _flat(logprobs.top[start:end], each.widths))
        start = end


def _matrix(likely: NDArray[np.float64], widths: list[int]) -> NDArray[np.float64]:
    """Numbers of one token after the other as a row for each token, NaN where one has fewer than another."""
    if min(widths) == max(widths):
        return likely.reshape(len(widths), widths[0])
    top = np.full((len(widths), max(widths)), math.nan)
    top[_is_there(widths, top.shape[1])] = likely
    return top


def _flat(top: NDArray[np.float64], widths: list[int]) -> list[float]:
    """What `_matrix` made a matrix of."""
    is_full = min(widths, default=0) == top.shape[1]
    flat: list[float] = (top.ravel() if is_full else top[_is_there(widths, top.shape[1])]).tolist()
    return flat


def _is_there(widths: list[int], most: int) -> NDArray[np.bool_]:
    return np.arange(most) < np.array(widths, dtype=np.intp)[:, None]

"""An answer of a language model or an encoder as an open document: only what is edited is decoded."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Answer
from counterclone.errors import AnswerError
from counterclone.guard.dialects import _json, _tokens
from counterclone.protocols import Body
from counterclone.speech import Said, Speech, Usage, Vectors

MOST_TOKENS = 2**40
_HIDING = re.compile("prob|logit", re.IGNORECASE)
_INFINITY = re.compile(rb'"(?:[^"\\]|\\.)*"|-Infinity', re.DOTALL)
_SINGLE = np.dtype("<f4")
_objects = msgspec.json.Decoder(list[_json.Fields])


class Parts:
    """What was found in an answer, and where it is written again.

    Args:
        body: the answer.

    Attributes:
        fields: the answer's own fields, as bytes where nobody has opened them.
    """

    def __init__(self, body: Body) -> None:
        self.body = body
        content = body.content
        if b"-Infinity" in content:  # some servers write what isn't JSON
            content = _INFINITY.sub(lambda found: found[0] if found[0][:1] == b'"' else b"-9999.0", content)
        self.fields: dict[str, Any] = _json.fields(content)
        self._said: list[Said] = []
        self._places: list[tuple[dict[str, Any], str]] = []
        self._tokens: list[_tokens.Tokens] = []
        self._hidden: list[tuple[dict[str, Any], str]] = []
        self._vectors: list[tuple[dict[str, Any], str, bool]] = []
        self._arrays: list[NDArray[np.float64]] = []
        self._usage = Usage()

    def say(self, owner: dict[str, Any], field: str, name: str, *, is_reasoning: bool = False,
            is_last: bool = True) -> None:
        """Note a text, where the field is one; its end also where it isn't."""
        raw = owner.get(field)
        is_text = _json.first(raw) == b'"'
        if is_text or is_last:
            self._said.append(Said(name, _text(raw) if is_text and raw else "", is_reasoning, is_last))
            self._places.append((owner, field))

    def tell(self, owner: dict[str, Any], field: str) -> None:
        """Note log-probabilities."""
        self._tokens += _tokens.found_in(owner, field)

    def hide(self, owner: dict[str, Any], known: str = "") -> None:
        """Note fields whose names say that they hold what `logprobs` holds, but for the one that is told."""
        self._hidden += [(owner, name) for name, raw in owner.items()
                         if _HIDING.search(name) and name != known and _holds_numbers(raw)]

    def point(self, owner: dict[str, Any], field: str) -> None:
        """Note a vector: numbers, or 32-bit floats in base64."""
        raw = owner[field]
        is_packed = _json.first(raw) == b'"'
        try:
            array = (np.frombuffer(base64.b64decode(_text(raw), validate=True), _SINGLE).astype(np.float64)
                     if is_packed else np.asarray(_json.load_answer(raw), dtype=np.float64))
        except (ValueError, TypeError, OverflowError, binascii.Error):
            raise AnswerError("the answer has an embedding that isn't numbers; expected a list of them, or 32-bit "
                              "floats in base64") from None
        if array.ndim != 1:
            raise AnswerError("the answer has an embedding that isn't one row of numbers; expected one for each "
                              "input")
        self._vectors.append((owner, field, is_packed))
        self._arrays.append(array)

    def use(self, raw: msgspec.Raw | None, name_in: str, name_out: str) -> None:
        """Note what the server counted."""
        if raw is not None and _json.first(raw) == b"{":
            counts = _json.fields(raw)
            self._usage = self._usage.then(Usage(_count(counts.get(name_in)), _count(counts.get(name_out))))

    def answer(self) -> Answer:
        """What was found.

        Raises:
            AnswerError: embeddings of several sizes, or numbers that aren't finite.
        """
        vectors = None
        if self._arrays:
            if len({array.shape for array in self._arrays}) > 1:
                raise AnswerError("the answer has embeddings of several sizes; expected one")
            vectors = np.stack(self._arrays)
            if not np.isfinite(vectors).all():
                raise AnswerError("the answer has an embedding with numbers that aren't finite; expected finite "
                                  "ones")
        self.speech = Speech(self._said, _tokens.stacked(self._tokens), vectors, bool(self._hidden), self._usage)
        return Answer({}, self, speech=self.speech)

    def written(self, speech: Speech) -> Body:
        """The answer with another speech; the very same where nothing of it is another."""
        before = self.speech
        if speech is before:
            return self.body
        self._write_texts(before.said, speech.said)
        if speech.logprobs is not before.logprobs:
            _tokens.put(self._tokens, speech.logprobs)
        if before.hides and not speech.hides:
            for owner, field in self._hidden:
                owner[field] = msgspec.Raw(b"null")
        if speech.vectors is not None and speech.vectors is not before.vectors:
            self._write_vectors(speech.vectors)
        return Body(msgspec.json.encode(self.fields))

    def _write_texts(self, before: Sequence[Said], now: Sequence[Said]) -> None:
        for (owner, field), old, new in zip(self._places, before, now, strict=True):
            if new.text != old.text:
                owner[field] = new.text

    def _write_vectors(self, vectors: Vectors) -> None:
        for (owner, field, is_packed), vector in zip(self._vectors, vectors, strict=True):
            owner[field] = (base64.b64encode(vector.astype(_SINGLE).tobytes()).decode() if is_packed
                            else _json.raw(vector))


def _holds_numbers(raw: Any) -> bool:
    """Whether a value may hold log-probabilities: settings that are echoed are whole numbers, or true or false."""
    kind = _json.first(raw)
    if kind in b"[{":
        return len(memoryview(raw)) > 2
    return kind in b"-0123456789" and not bytes(raw).isdigit()


def opened(owner: dict[str, Any], field: str) -> dict[str, Any]:
    """The object in a field, decoded in its place; an empty one, apart, where the field holds none."""
    raw = owner.get(field)
    if raw is None or isinstance(raw, dict):
        return raw or {}
    if _json.first(raw) != b"{":
        return {}
    owner[field] = inner = _json.fields(raw)
    return inner


def listed(owner: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """The objects in a field's list, decoded in their place; none where it holds something else.

    Raises:
        AnswerError: a list of something else.
    """
    raw = owner.get(field)
    if raw is None or _json.first(raw) != b"[":
        return []
    try:
        owner[field] = inner = _objects.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise AnswerError(f"the answer's `{field}` is no list of objects; expected one") from None
    return inner


def number(owner: Mapping[str, Any], field: str, default: int) -> int:
    """A whole number in a field, the default where it holds none."""
    raw = bytes(owner.get(field, b""))
    return int(raw) if raw.isdigit() and len(raw) < 10 else default




def _text(raw: msgspec.Raw) -> str:
    value = _json.load_answer(raw)
    assert isinstance(value, str)  # it began with a quote
    return value


def _count(raw: msgspec.Raw | None) -> int | None:
    """A count that can be true."""
    text = bytes(raw or b"")
    return int(text) if text.isdigit() and len(text) < 14 and int(text) <= MOST_TOKENS else None

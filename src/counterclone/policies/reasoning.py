"""Keep a model's reasoning back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from counterclone.answers import FLOAT_BITS, Context
from counterclone.plugins import Spec
from counterclone.speech import Said, Speech

_CLOSED = re.compile(r"(?s:.*)</think(?:ing)?\s*>\s*", re.IGNORECASE)
_OPEN = re.compile(r"<think(?:ing)?\s*>", re.IGNORECASE)


class Reasoning(Spec, frozen=True):
    """Release the answer and not the thoughts before it.

    Worked steps teach a student more than answers do, up to a point: small students learn better from short
    answers than from long chains of thought (Li et al. 2025, Small Models Struggle to Learn from Strong
    Reasoners), so stripping can help such a copier. `strip` empties the fields that a server calls reasoning, and
    takes out what stands before the last `</think>`, or after a `<think>` that is never closed. Since another
    closing tag may still come, a streamed text is held back until its end; its events go on without it.
    Log-probabilities would spell the thoughts out, so they leave no more either. Callers that must send thoughts
    back with the results of tools can't.

    Attributes:
        mode: `pass` lets all of it through, `strip` keeps it back.
    """

    mode: Literal["pass", "strip"] = "strip"

    @property
    def edits(self) -> frozenset[str]:
        """Texts, and with them what spells them out."""
        return frozenset({"texts", "logprobs"} if self.mode == "strip" else {"texts"})

    @property
    def value_bits(self) -> float:
        """All of a number: it is for texts."""
        return float(FLOAT_BITS)

    def open(self, context: Context) -> Stripped | Passed:
        """Begin one answer."""
        return Stripped() if self.mode == "strip" else Passed()


class Passed:
    """One answer as it is."""

    def feed(self, speech: Speech) -> Speech:
        """All of a piece."""
        return speech

    def finish(self) -> Mapping[str, str]:
        """Nothing is held back."""
        return {}


class Stripped:
    """One answer without its thoughts; texts wait for their end."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[str, list[str]] = {}

    def feed(self, speech: Speech) -> Speech:
        """What leaves of a piece."""
        if not speech.said and not speech.materials:
            return speech
        said = [each._replace(text=self._shown(each)) for each in speech.said]
        is_same = speech.logprobs is None and not speech.hides and said == speech.said
        return speech if is_same else speech._replace(said=said, logprobs=None, hides=False)

    def finish(self) -> Mapping[str, str]:
        """What texts show whose end never came."""
        held, self._held = self._held, {}
        return {name: answer_of("".join(pieces)) for name, pieces in held.items()}

    def _shown(self, said: Said) -> str:
        if said.is_reasoning:
            return ""
        pieces = self._held.setdefault(said.name, [])
        pieces.append(said.text)
        if not said.is_last:
            return ""
        del self._held[said.name]
        return answer_of("".join(pieces))


def answer_of(text: str) -> str:
    """A text without the thoughts before its last closing tag, and without those that an open tag begins."""
    closed = _CLOSED.match(text)
    rest = text[closed.end():] if closed else text
    opened = _OPEN.search(rest)
    return rest[:opened.start()].rstrip() if opened else rest

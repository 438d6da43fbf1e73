"""Habits of writing that come in two ways and mean the same: each can be read from a text, and changed in it.

Code, links and quoted words are left alone, and so is a text that is data rather than prose: whoever copies a
command or a citation out of an answer gets it to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

BLANK = "\0"
"""Stands for what isn't looked at; no habit matches it."""
CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`|^(?: {4}|\t| ? ?(?:\$|>>>) )[^\n]*"
                  r"|\$[^$\n]+\$", re.DOTALL | re.MULTILINE)
WORD = re.compile(r"\S+")
SIGNS = frozenset("@\\_={}<>/")
"""Of words that prose hasn't: paths, addresses, names of variables, tags."""
QUOTED = re.compile(r'(?<=")[^"\n]*(?=")|(?<=“)[^“”\n]*(?=”)')
DATA = "{[<"
"""How texts begin that are data."""

Written = Callable[[re.Match[str]], str]


class Habit(Protocol):
    """Something that a text does in one of several ways.

    Attributes:
        name: what reports call it.
        bits: its ways are 2**bits.
    """

    @property
    def name(self) -> str: ...

    @property
    def bits(self) -> int: ...

    def read(self, text: str) -> int | None:
        """The way of a text; None where it isn't in it, or in several ways."""
        ...

    def write(self, text: str, way: int) -> str:
        """A text that does it, the given way."""
        ...


@dataclass(frozen=True)
class Style:
    """A habit with two ways.

    Attributes:
        name: what reports call it.
        found: what a place of each way looks like.
        written: how a place of each way is written the other way.
        is_wording: whether quoted words are left alone.
    """

    name: str
    found: tuple[re.Pattern[str], re.Pattern[str]]
    written: tuple[Written, Written]
    is_wording: bool = False
    bits: int = 1

    def read(self, text: str) -> int | None:
        """The way of a text; None where it isn't in it, or in both ways."""
        seen = _seen(text, self.is_wording)
        first, second = (pattern.search(seen) is not None for pattern in self.found)
        return int(second) if first != second else None

    def write(self, text: str, way: int) -> str:
        """A text with every place of the other way changed."""
        seen, other = _seen(text, self.is_wording), 1 - way
        parts, end = [], 0
        for match in self.found[other].finditer(seen):
            parts += [text[end:match.start()], self.written[other](match)]
            end = match.end()
        return "".join([*parts, text[end:]])


@lru_cache(maxsize=128)
def _seen(text: str, is_wording: bool) -> str:
    """A text with what isn't looked at blanked, places kept."""
    if text.lstrip()[:1] in DATA:
        return ""
    seen = WORD.sub(_blank_signs, CODE.sub(_blank, text))
    return QUOTED.sub(_blank, seen) if is_wording else seen


def _blank(match: re.Match[str]) -> str:
    return BLANK * len(match.group())


def _blank_signs(match: re.Match[str]) -> str:
    return match.group() if SIGNS.isdisjoint(match.group()) else _blank(match)


def _words(name: str, pairs: Mapping[str, str], before: str = r"(?<!\w)", after: str = r"(?!\w)") -> Style:
    """One wording or another; at the start of a sentence with its capital."""
    others = {**pairs, **{_capital(one): _capital(other) for one, other in pairs.items() if other.islower()}}

    def style(table: Mapping[str, str]) -> tuple[re.Pattern[str], Written]:
        either = "|".join(map(re.escape, table))
        return re.compile(f"{before}(?:{either}){after}"), lambda match: table[match.group()]

    (first, to_second), (second, to_first) = style(others), style({b: a for a, b in others.items()})
    return Style(name, (first, second), (to_second, to_first), is_wording=True)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _signs(name: str, found: tuple[str, str], written: tuple[str, str]) -> Style:
    """One sign or another; `written` are templates of the other way."""
    patterns = re.compile(found[0], re.MULTILINE), re.compile(found[1], re.MULTILINE)
    return Style(name, patterns, (lambda match: match.expand(written[0]), lambda match: match.expand(written[1])))


NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
CONTRACTED = {"cannot": "can't", "do not": "don't", "does not": "doesn't", "did not": "didn't", "is not": "isn't",
              "are not": "aren't", "was not": "wasn't", "were not": "weren't", "will not": "won't",
              "would not": "wouldn't", "should not": "shouldn't", "could not": "couldn't"}
ADDRESSED = {"you are": "you're", "you will": "you'll", "we are": "we're", "we will": "we'll",
             "they are": "they're", "they will": "they'll"}
BULLET = r"^[ \t]*(?:[-*]|\d{1,2}[.)]) "
ITEM = r"[^\W\d_][\w-]{0,30}\b"
STYLES: tuple[Style, ...] = (
    _signs("bullets", (r"^([ \t]*)- (?=[^\s*-])", r"^([ \t]*)\* (?=[^\s*-])"), (r"\1* ", r"\1- ")),
    _signs("numbering", (r"^([ \t]*\d{1,2})\. (?=\S)", r"^([ \t]*\d{1,2})\) (?=\S)"), (r"\1) ", r"\1. ")),
    _signs("spacing", (rf"({BULLET}[^\n]+)\n(?={BULLET[1:]})", rf"({BULLET}[^\n]+)\n\n(?={BULLET[1:]})"),
           (r"\1\n\n", r"\1\n")),
    _signs("stops", (rf"({BULLET}[^\n]*[a-z)])$", rf"({BULLET}[^\n]*[a-z)])\.$"), (r"\1.", r"\1")),
    _signs("bold colon", (r"(\*\*[A-Za-z][^*\n]*):\*\*(?= )", r"(\*\*[A-Za-z][^*\n]*[^*\n:])\*\*:(?= )"),
           (r"\1**:", r"\1:**")),
    _words("contraction", CONTRACTED),
    _words("pronouns", ADDRESSED, after=r"(?= [a-z])"),
    _signs("serial comma", (rf"\b({ITEM}, {ITEM}, {ITEM}) (and|or) (?={ITEM})",
                            rf"\b({ITEM}, {ITEM}, {ITEM}), (and|or) (?={ITEM})"), (r"\1, \2 ", r"\1 \2 ")),
    _words("example", {"for example": "e.g."}, r"(?<=[ (])", r"(?=,? \w)"),
    _words("numbers", dict(zip(NUMBERS, "23456789", strict=True)),
           r"(?:(?<=\bthe )|(?<=\ball )|(?<=\bfor )|(?<=\bhas )|(?<=\bare )|(?<=\bin )|(?<=\bof ))",
           r"(?= [a-z]{3,}s\b)"),
    _words("obligation", {"need to": "have to"}, r"(?<=\b[Yy]ou )", r"(?!\w)"),
    _signs("quotes", (r'(?:(?<=^)|(?<=[\s(]))"([A-Za-z][A-Za-z ,.\'!?-]*)"',
                      r"(?:(?<=^)|(?<=[\s(]))“([A-Za-z][A-Za-z ,.\'!?-]*)”"), (r"“\1”", r'"\1"')),
    _signs("dashes", (r"(?<=[a-z]{2}) - (?=[a-z]{2})", r"(?<=[a-z]{2}) – (?=[a-z]{2})"), (" – ", " - ")),
    _words("restatement", {"that is": "i.e."}, r"(?<=, )", r"(?=, )"),
    _words("estimate", {"about": "approximately"}, r"(?<=[ (])", r"(?= \d)"),
    _signs("percent", (r"(?<=[a-z] )(\d+(?:\.\d+)?)%(?!\w)", r"(?<=[a-z] )(\d+(?:\.\d+)?) %(?!\w)"),
           (r"\1 %", r"\1%")),
    _signs("ellipsis", (r"(?<=[a-z])\.\.\.(?=\s|$)", r"(?<=[a-z])…(?=\s|$)"), ("…", "...")),
)

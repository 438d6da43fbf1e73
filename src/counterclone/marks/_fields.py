"""The order of named fields, in a JSON object or in lines of `name: value`: nothing that is said changes."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import dataclass
from typing import NamedTuple

BLANKS = re.compile(r"\s*")


class Member(NamedTuple):
    """A field in a text.

    Attributes:
        name: the field's.
        start: where it begins.
        end: and ends.
    """

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Order:
    """The order of named fields as a habit: its ways are the first 2**bits orders, the named one first.

    Attributes:
        names: of the fields that may change places.
    """

    names: tuple[str, ...]
    name: str = "order"

    @property
    def bits(self) -> int:
        """Of two fields 1, of three 2, of four 4."""
        return math.factorial(len(self.names)).bit_length() - 1

    def read(self, text: str) -> int | None:
        """The number of a text's order; None where a field is missing or twice, or the order hasn't a number."""
        members = self._members(text)
        if members is None:
            return None
        seen = tuple(self.names.index(member.name) for member in members)
        way = list(itertools.permutations(range(len(seen)))).index(seen)
        return way if way < 2**self.bits else None

    def write(self, text: str, way: int) -> str:
        """A text with its fields in the order of that number."""
        members = self._members(text)
        if members is None:
            return text
        order = list(itertools.permutations(self.names))[way]
        contents = {member.name: text[member.start:member.end] for member in members}
        parts, end = [], 0
        for member, name in zip(members, order, strict=True):
            parts += [text[end:member.start], contents[name]]
            end = member.end
        return "".join([*parts, text[end:]])

    def _members(self, text: str) -> list[Member] | None:
        """The named fields as they come; None where one is missing or there twice."""
        members = [each for each in _of_object(text) or _of_lines(text) if each.name in self.names]
        return members if sorted(each.name for each in members) == sorted(self.names) else None


def _of_lines(text: str) -> list[Member]:
    return [Member(match[1].strip(), *match.span()) for match in re.finditer(r"^([^:\n]+):[^\n]*", text, re.M)]


def _of_object(text: str) -> list[Member]:
    """The members of a JSON object; none where the text is anything else."""
    place = _after(text, 0)
    if text[place:place + 1] != "{":
        return []
    members = []
    decoder = json.JSONDecoder()
    try:
        while text[place] in "{,":
            start = _after(text, place + 1)
            name, end = decoder.raw_decode(text, start)
            colon = _after(text, end)
            _, end = decoder.raw_decode(text, _after(text, colon + 1))
            if text[colon] != ":" or not isinstance(name, str):
                return []
            members.append(Member(name, start, end))
            place = _after(text, end)
    except (ValueError, IndexError, RecursionError):
        return []
    return members if text[place] == "}" and not text[place + 1:].strip() else []


def _after(text: str, place: int) -> int:
    """The first place from there on that isn't blank."""
    found = BLANKS.match(text, place)
    return found.end() if found else place

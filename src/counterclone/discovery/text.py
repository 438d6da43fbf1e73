"""What a server says of itself, made fit for a terminal and a comment."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

LONGEST = 160
MOST = 8


def shown(value: object) -> str:
    """Any value in one short line of printable characters."""
    text = printable(" ".join(str(value).split()))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def listed(values: Iterable[object]) -> str:
    """The first of some values, with commas between them."""
    first = [shown(value) for value in islice(values, MOST + 1)]
    return ", ".join([*first[:MOST], "..."] if len(first) > MOST else first)


def printable(text: str) -> str:
    """A text in which nothing ends a line or moves a cursor."""
    return "".join(character if character.isprintable() else " " for character in text)

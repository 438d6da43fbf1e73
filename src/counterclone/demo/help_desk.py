"""A help desk for a small language model: tickets, and replies with fields that rules give and a passage to read.

The rules are tables that nobody outside knows. Passages are windows of Python's own documentation.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.randomness import Generator

ASKED = (("product", 16), ("issue", 16), ("tier", 4), ("region", 6), ("mood", 6))
ARROW = "=>"
N_QUEUES, N_PRIORITIES, N_CODES = 8, 4, 10
N_FIELDS = 3
N_WORDS = 1_000
"""The documentation's most frequent words; the others are left out."""
PASSAGE = 12
MISTAKES = 0.1
"""The share of records in which somebody chose a field at will."""
LENGTH = N_FIELDS + PASSAGE + 1

Numbers = NDArray[np.int64]


class Desk(NamedTuple):
    """The rules.

    Attributes:
        queue: of the families of product and issue, (4, 4).
        code: of the family of issues and the tier, (4, 4).
        tier: its part of the priority, (4,).
        mood: likewise, (6,).
        passages: the words that replies of a queue are cut from, by queue.
    """

    queue: Numbers
    code: Numbers
    tier: Numbers
    mood: Numbers
    passages: list[list[str]]


def desk(rng: Generator) -> Desk:
    """Rules at random."""
    from pydoc_data.topics import topics

    words = re.findall("[a-z]+", " ".join(topics.values()).lower())
    frequent = {word for word, _ in Counter(words).most_common(N_WORDS)}
    kept = [word for word in words if word in frequent]
    size = len(kept) // N_QUEUES
    return Desk(rng.integers(0, N_QUEUES, (4, 4)), rng.integers(0, N_CODES, (4, 4)), rng.integers(0, 4, 4),
                rng.integers(0, 3, 6), [kept[start:start + size] for start in range(0, size * N_QUEUES, size)])


def tickets(n: int, rng: Generator) -> list[str]:
    """Tickets, each with an arrow where the reply begins."""
    drawn = [rng.integers(0, size, n) for _, size in ASKED]
    return [" ".join([*(f"{name}-{number}" for (name, _), number in zip(ASKED, numbers, strict=True)), ARROW])
            for numbers in zip(*drawn, strict=True)]


def replies(rules: Desk, asked: list[str], rng: Generator) -> list[str]:
    """What the desk's own files answer, mistakes included."""
    return [" ".join([*_fields(rules, ticket, rng), *_passage(rules, ticket, rng)]) for ticket in asked]


def fields(reply: str) -> tuple[str, ...]:
    """The fields of a reply."""
    return tuple(reply.split()[:N_FIELDS])


def _fields(rules: Desk, ticket: str, rng: Generator) -> list[str]:
    _, issue, tier, _, mood = _numbers(ticket)
    priority = (rules.tier[tier] + rules.mood[mood]) % N_PRIORITIES
    given = _queue(rules, ticket), priority, rules.code[issue // 4, tier]
    sizes = ("queue", N_QUEUES), ("priority", N_PRIORITIES), ("code", N_CODES)
    return [f"{name}-{rng.integers(size) if rng.random() < MISTAKES else number}"
            for (name, size), number in zip(sizes, given, strict=True)]


def _passage(rules: Desk, ticket: str, rng: Generator) -> list[str]:
    words = rules.passages[_queue(rules, ticket)]
    start = int(rng.integers(len(words) - PASSAGE))
    return words[start:start + PASSAGE]


def _queue(rules: Desk, ticket: str) -> int:
    product, issue, *_ = _numbers(ticket)
    return int(rules.queue[product // 4, issue // 4])


def _numbers(ticket: str) -> list[int]:
    return [int(word.partition("-")[2]) for word in ticket.split()[:-1]]

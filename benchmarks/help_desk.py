"""A narrow task for a language model: a made-up help desk, whose rules are tables that nobody outside knows.

A prompt is product, issue, tier, region, age, mood and two words that mean nothing; an answer is queue, priority,
two codes, and six words in the house's style. Records are noisy, so that their model is unsure as real ones are.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.attacks._transformer import Tokens
from counterclone.randomness import Generator

PROMPT = (("product", 24), ("issue", 24), ("tier", 4), ("region", 8), ("age", 6), ("mood", 4), ("filler", 22))
ANSWER = (("queue", 16), ("priority", 5), ("code", 12), ("other", 12), ("word", 60))
_SIZES = dict((*PROMPT, *ANSWER))
_STARTS = dict(zip(_SIZES, accumulate(_SIZES.values(), initial=3), strict=False))
BEGIN, ARROW, END = 0, 1, 2
VOCABULARY = 3 + sum(_SIZES.values())
ASKED = ("product", "issue", "tier", "region", "age", "mood", "filler", "filler")
FIELDS = ("queue", "priority", "code", "other")
N_WORDS = 6
START = 2 + len(ASKED)
"""Where the answer begins."""
LENGTH = START + len(FIELDS) + N_WORDS + 1
SHARED = 0.3
"""Of the rows of a company's tables that all companies have."""
LIKELIEST = ((0.65, 0.25, 0.10), (0.85, 0.15), (0.9, 0.1), (0.9, 0.1))
"""How often the field of a record is the rule's, and other ones."""

Drawn = NDArray[np.int64]


class Company(NamedTuple):
    """The rules of one company.

    Attributes:
        queue: of the families of product and issue, which everybody knows, (6, 6).
        code: of the family of issues and the tier, (6, 4).
        other: the second code, of queue and half of the regions, (16, 2).
        weights: of the score that the priority is, of issues' families, tier, age and mood.
        style: what word may follow, (60, 3).
    """

    queue: Drawn
    code: Drawn
    other: Drawn
    weights: tuple[Drawn, Drawn, Drawn, Drawn]
    style: Drawn

    def fields(self, asked: Drawn, mistakes: Drawn) -> Drawn:
        """What the rules say, (n, 4), each field moved by a mistake, and the last as follows from the first.

        Args:
            asked: all but what frames it, counted from 0, (n, 8).
            mistakes: 0 for none.
        """
        product, issue, tier, region, age, mood = asked[:, :6].T
        family = issue // 4
        by_family, by_tier, by_age, by_mood = self.weights
        score = by_family[family] + by_tier[tier] + by_age[age] + by_mood[mood]
        queue = (self.queue[product // 4, family] + mistakes[:, 0]) % 16
        found = [queue, (score * 5 // 13 + mistakes[:, 1]) % 5, (self.code[family, tier] + mistakes[:, 2]) % 12,
                 (self.other[queue, region // 4] + mistakes[:, 3]) % 12]
        return np.stack(found, axis=1)


def company(rng: Generator, public: Company | None = None) -> Company:
    """Rules at random; of a public company, so that it shares a part of their rows with everybody."""
    drawn = Company(
        rng.integers(0, 16, (6, 6)), rng.integers(0, 12, (6, 4)), rng.integers(0, 12, (16, 2)),
        (rng.integers(0, 4, 6), rng.integers(0, 4, 4), rng.integers(0, 4, 6), rng.integers(0, 4, 4)),
        rng.integers(0, 60, (60, 3)))
    if public is None:
        return drawn
    queue, code, other = (_shared(own, theirs, rng) for own, theirs in zip(drawn[:3], public[:3], strict=True))
    return Company(queue, code, other, drawn.weights, drawn.style)


def _shared(own: Drawn, theirs: Drawn, rng: Generator) -> Drawn:
    is_shared = rng.random(own.shape) < SHARED
    return np.where(is_shared, theirs, own)


def prompts(n: int, rng: Generator) -> Tokens:
    """Prompts of all sorts: (n, START)."""
    asked = np.stack([_STARTS[name] + rng.integers(0, _SIZES[name], n) for name in ASKED], axis=1)
    ends = np.ones((n, 1), dtype=np.int64)
    return np.concatenate([BEGIN * ends, asked, ARROW * ends], axis=1)


def truths(rules: Company, asked: Tokens) -> Tokens:
    """The fields that the rules give to prompts, as tokens: (n, 4)."""
    return _fields(rules, asked, np.zeros((len(asked), len(FIELDS)), dtype=np.int64))


def _fields(rules: Company, asked: Tokens, mistakes: Drawn) -> Tokens:
    plain = asked[:, 1:START - 1] - np.array([_STARTS[name] for name in ASKED])
    fields: Tokens = rules.fields(plain, mistakes) + np.array([_STARTS[name] for name in FIELDS])
    return fields


def records(rules: Company, n: int, rng: Generator) -> Tokens:
    """What a company's own files hold, mistakes included: (n, LENGTH)."""
    asked = prompts(n, rng)
    mistakes = [rng.choice(len(shares), n, p=shares) * (1 + _SIZES[name] // 4)
                for name, shares in zip(FIELDS, LIKELIEST, strict=True)]
    fields = _fields(rules, asked, np.stack(mistakes, axis=1))
    words = np.empty((n, N_WORDS), dtype=np.int64)
    word = fields[:, 0] % _SIZES["word"]
    for place in range(N_WORDS):
        word = rules.style[word, rng.choice(3, n, p=(0.6, 0.3, 0.1))]
        words[:, place] = word + _STARTS["word"]
    return np.concatenate([asked, fields, words, np.full((n, 1), END)], axis=1)

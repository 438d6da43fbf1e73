"""What a copier of a model of numbers asks: a pool, chosen or drawn, and copies where the budget is larger."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from counterclone.attacks._copies import Copies, Maker
from counterclone.attacks._lessons import Asks, Lessons
from counterclone.attacks._selection import pays, uncertain, unsure
from counterclone.attacks._students import Lesson, Student, agreement_of_others, agreements, joined, taught
from counterclone.errors import BudgetExhausted
from counterclone.protocols import Asking, Prior
from counterclone.queries import Features
from counterclone.randomness import Generator

Selection = Literal["auto", "random", "active"]

SEED_SHARE = 0.3
"""Of what is asked of a pool, so much is drawn at random before anything is chosen."""
ROUNDS = 3
HELD_OUT = 1 / 3
TRIED = 200
"""Copies of each kind, at most, that are asked to find the best kind."""
LEAST_TRIED = 24
A_ROUND, ROUNDS_BEYOND, OFFERED = 400, 6, 4
"""A forest chooses among so many times the copies, in rounds of about so many, and no more rounds."""
MOST_COMPARED = 1500
"""Answers that a forest and a kernel are compared on."""


class Transfer:
    """Queries from a pool and beyond it, and the student of their answers.

    Args:
        prior: of a target that takes numbers.
        selection: `random` draws from the pool; `active` asks where a student is unsure; `auto` is active where
            that does as well among the first, random, answers.
        rng: everything random comes from it.

    Attributes:
        lessons: what was asked so far.
    """

    def __init__(self, prior: Prior, selection: Selection, rng: Generator) -> None:
        self.lessons = Lessons(prior)
        self._prior = prior
        self._selection = selection
        self._rng = rng
        self._pool = distinct(np.asarray(prior.pool, dtype=np.float64))
        self._n_pooled = 0

    def run(self) -> Asking:
        """Ask for the whole budget, and learn."""
        with suppress(BudgetExhausted):
            yield from self.ask(self._prior.budget)
        return self.student()

    def ask(self, n: int) -> Asks[None]:
        """Ask n queries: the pool's first.

        Raises:
            BudgetExhausted: the budget doesn't reach for it.
        """
        n_pooled = min(n, len(self._pool))
        yield from self._ask_pool(n_pooled)
        if n > n_pooled:
            yield from self._ask_beyond(n - n_pooled)

    @property
    def lesson(self) -> Lesson:
        """What was asked and answered."""
        return Lesson(np.asarray(self.lessons.inputs, dtype=np.float64), self.lessons.rows)

    @property
    def natural(self) -> NDArray[np.bool_]:
        """Which of it came from the pool."""
        return np.arange(len(self.lessons)) < self._n_pooled

    def student(self) -> Student | None:
        """The best student of all answers; None where there are none."""
        return taught(self.lesson, self._rng, self.natural)

    def _ask_pool(self, n: int) -> Asks[None]:
        order = self._rng.permutation(len(self._pool))
        n_drawn = n
        if n < len(self._pool) and self._selection != "random":
            n_drawn = min(n, round(SEED_SHARE * n) + 1)
        yield from self._ask_natural(self._pool[order[:n_drawn]])
        if n_drawn == n:
            return
        if self._selection == "auto" and not pays(self.lesson, self._rng):
            yield from self._ask_natural(self._pool[order[n_drawn:n]])
            return
        rest = order[n_drawn:]
        for part in np.array_split(np.arange(n - n_drawn), ROUNDS):
            if len(part):
                picked = uncertain(self.lesson, self._pool[rest], len(part), self._rng)
                yield from self._ask_natural(self._pool[rest[picked]])
                rest = np.delete(rest, picked)

    def _ask_natural(self, inputs: Features) -> Asks[None]:
        try:
            yield from self.lessons.ask(inputs)
        finally:  # what was answered before the budget ended counts as well
            self._n_pooled = len(self.lessons)

    def _ask_beyond(self, n: int) -> Asks[None]:
        if not len(self._pool):
            lower, upper = self._prior.lower, self._prior.upper
            yield from self.lessons.ask(self._rng.uniform(lower, upper, (n, len(lower))))
            return
        copies = Copies(self._pool, self._prior.lower, self._prior.upper)
        make = yield from self._best_maker(copies, n)
        n_left = n - (len(self.lessons) - self._n_pooled)
        for part in np.array_split(np.arange(n_left), min(1 + n_left // A_ROUND, ROUNDS_BEYOND)):
            if len(part):
                yield from self.lessons.ask(self._beyond(copies, make, len(part)))

    def _beyond(self, copies: Copies, make: Maker, n: int) -> Features:
        """So many copies; where a forest learns more than a kernel, those that are nearest to its boundaries.

        A tree reads one feature at a time, so inputs teach it that are crossed of two. Where boundaries are
        smooth, copies near them teach no more than others.
        """
        order = self._rng.permutation(len(self.lessons))[:MOST_COMPARED]
        judged, learnt = np.split(order, [len(order) // 4])
        if n < LEAST_TRIED or not len(judged):
            return make(n, self._rng)
        found = agreements(self.lesson.take(learnt), self.lesson.take(judged), self._rng)
        if found["forest"] <= found["kernel"]:
            return make(n, self._rng)
        offered = copies.crossed(OFFERED * n, self._rng)
        return offered[unsure(self.lesson, offered, n, "forest", self._rng)]

    def _best_maker(self, copies: Copies, n: int) -> Asks[Maker]:
        """The kind of copies whose students agree best with what they weren't copied from."""
        n_tried = min(TRIED, n // (2 * len(copies.makers)))
        n_held_out = int(HELD_OUT * self._n_pooled)
        if len(copies.makers) == 1 or n_tried < LEAST_TRIED or not n_held_out:
            return copies.makers[0]
        order = self._rng.permutation(self._n_pooled)
        judged, learnt = self.lesson.take(order[:n_held_out]), self.lesson.take(order[n_held_out:])
        scores = []
        for make in copies.of(learnt.inputs).makers:
            start = len(self.lessons)
            yield from self.lessons.ask(make(n_tried, self._rng))
            tried = self.lesson.take(np.arange(start, start + n_tried))
            scores.append(agreement_of_others(joined(learnt, tried), judged, self._rng))
        return copies.makers[int(np.argmax(scores))]


def distinct(pool: Features) -> Features:
    """A pool's inputs, each once, in their order."""
    if not len(pool):
        return pool
    kept: Features = pool[np.sort(np.unique(pool, axis=0, return_index=True)[1])]
    return kept

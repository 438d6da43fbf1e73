"""Ask outside the range of sensible inputs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from counterclone.attacks._box import Box
from counterclone.attacks._lessons import Asks, Lessons
from counterclone.attacks._students import Lesson, Student, agreement_of_others, taught
from counterclone.attacks._transfer import Transfer, distinct
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.randomness import Generator

PILOT, FAR = 4, 8
"""One in so many queries is of the pool, and far outside, before anybody knows whether that helps."""
MORE = 3
"""One in so many of the rest is far outside where it helps."""
LEAST = 24
"""With fewer of the pool to judge by, nothing is asked outside."""


class RangeProbing(Spec, frozen=True):
    """Ask outside the range of sensible inputs.

    A defence may look after the deployment's own inputs only; and noise of one size in the log-odds matters less
    the farther outside a linear model is asked, since its log-odds grow with the distance. So it asks a few of the
    pool and a few inputs drawn evenly from a wider box, and goes on outside where students that learn from both
    predict held-out labels of the pool better than those that learn from the pool alone; the rest of its queries,
    or all of them where it doesn't help, are those of `knockoff`.

    Needs numeric inputs and probabilities, and an API that answers inputs outside its range: where they are
    refused or clipped, or the budget is small, it is `knockoff`. It can't gain on what doesn't carry on outside as
    it is inside, as most networks and trees don't.

    Lowd and Meek 2005, "Adversarial Learning", and Tramer et al. 2016, "Stealing Machine Learning Models via
    Prediction APIs", section 4 (queries of the attacker's own making); Orekondy et al. 2019 (the student).

    Attributes:
        width: of the box, in widths of the sensible range.
    """

    width: Annotated[float, msgspec.Meta(gt=1.0, le=1000.0)] = 3.0

    needs: ClassVar[frozenset[str]] = frozenset({"numbers", "scores"})
    is_exact: ClassVar[bool] = True

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask inside and outside, and learn."""
        probing = _Probing(prior, self.width, rng)
        with suppress(BudgetExhausted):
            yield from probing.ask()
        return probing.student()


class _Probing:
    """One run: a few of the pool, a few far outside, and a plain student's queries."""

    def __init__(self, prior: Prior, width: float, rng: Generator) -> None:
        self._prior = prior
        self._box = Box.of(prior).widened(width)
        self._rng = rng
        self._near, self._far = Lessons(prior), Lessons(prior)
        self._plain = Transfer(prior, "auto", rng)

    def ask(self) -> Asks[None]:
        """See whether it helps to ask outside, and do so."""
        budget, left = self._prior.budget, self._prior.budget
        pool = distinct(np.asarray(self._prior.pool, dtype=np.float64))
        n_near = min(budget // PILOT, len(pool) // 2)
        if self._prior.is_open and n_near >= LEAST:
            pool = pool[self._rng.permutation(len(pool))]
            yield from self._near.ask(pool[:n_near])
            yield from self._far.ask(self._box.uniform(self._rng, budget // FAR))
            left -= n_near + budget // FAR
            if self._helps(_lesson(self._near)):
                yield from self._far.ask(self._box.uniform(self._rng, left // MORE))
                left -= left // MORE
            self._plain = Transfer(replace(self._prior, pool=pool[n_near:], budget=left), "auto", self._rng)
        yield from self._plain.ask(left)

    def _helps(self, near: Lesson) -> bool:
        """Whether students that learn from outside as well predict a third of what is inside better."""
        held, known = np.split(self._rng.permutation(len(near.rows)), [len(near.rows) // 3])
        alone, judged = near.take(known), near.take(held)
        return (agreement_of_others(_both(alone, _lesson(self._far)), judged, self._rng)
                > agreement_of_others(alone, judged, self._rng))

    def student(self) -> Student | None:
        """Of all answers, without those from outside where they don't help; None where nothing was answered."""
        near = _both(self._plain.lesson, _lesson(self._near))
        natural = np.concatenate([self._plain.natural, np.ones(len(self._near), dtype=np.bool_)])
        if not len(self._far) or (natural.sum() >= LEAST and not self._helps(near.take(natural))):
            return taught(near, self._rng, natural)
        natural = np.concatenate([natural, np.zeros(len(self._far), dtype=np.bool_)])
        return taught(_both(near, _lesson(self._far)), self._rng, natural)


def _lesson(lessons: Lessons) -> Lesson:
    return Lesson(np.asarray(lessons.inputs, dtype=np.float64), lessons.rows)


def _both(one: Lesson, other: Lesson) -> Lesson:
    return Lesson(*(np.concatenate(pair) for pair in zip(one, other, strict=True)))

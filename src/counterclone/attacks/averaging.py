"""Average answers to repeats and near-duplicates."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone.answers import keep_top
from counterclone.attacks._lessons import Asks, Lessons
from counterclone.attacks._rivals import preferred
from counterclone.attacks._students import Lesson, Student, taught
from counterclone.attacks._transfer import Transfer, distinct
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.randomness import Generator

PILOT = 8
"""Inputs that are asked again, or twice beside themselves, to see whether answers are noisy."""
LEAST = 64
"""With a smaller pool, or fewer queries beyond it, nobody looks."""
SHARE = 4
"""One in so many of the queries beyond the pool is an echo, since other inputs tell more."""
LAST_DIGITS = 1e-6
ROUGH = 0.75
"""Half a step changes a smooth answer half as much, and a noisy one as much: above this share it is noisy."""


class Averaging(Spec, frozen=True):
    """Average answers to repeats and near-duplicates.

    Where noise is drawn anew for each answer, the mean of repeats tends to the true row; where it is keyed to the
    query, repeats are equal, and inputs a step away, which count as other queries, have other noise. But a student
    averages over different inputs as well, and learns more from them: so it asks the pool once and then copies of
    its inputs, as `knockoff` does, and only where answers are noisy, and with a quarter of what is left beyond the
    pool, echoes of it (repeats if those differ, else near-duplicates). The means are kept only where their
    students predict held-out labels better.

    Needs numeric inputs and probabilities, and a budget larger than the pool: below that it is `knockoff`. It
    can't undo what is the same for all answers, as rounding or a distorting map.

    Orekondy et al. 2019, "Knockoff Nets" (the student); Tang et al. 2024, "ModelGuard" (the smoothing attack).

    Attributes:
        step: how far near-duplicates are away, as a share of each feature's range.
    """

    step: Annotated[float, msgspec.Meta(gt=0.0, le=0.2)] = 0.01

    needs: ClassVar[frozenset[str]] = frozenset({"numbers", "scores"})
    is_exact: ClassVar[bool] = True

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask, average what is noisy, and learn."""
        averaging = _Averaging(prior, self.step, rng)
        with suppress(BudgetExhausted):
            yield from averaging.ask()
        return averaging.student()


class _Averaging:
    """One run: a plain student's queries, and echoes of those from the pool."""

    def __init__(self, prior: Prior, step: float, rng: Generator) -> None:
        self._prior = prior
        self._step = step * (prior.upper - prior.lower)
        self._rng = rng
        self._pool = distinct(np.asarray(prior.pool, dtype=np.float64))
        self._plain = Transfer(prior, "auto", rng)
        self._echoes = Lessons(prior)
        self._repeats = False
        self._places: list[int] = []

    def ask(self) -> Asks[None]:
        """The pool, then copies, and echoes where answers are noisy."""
        n_echoes = 0
        if min(len(self._pool), self._prior.budget - len(self._pool)) >= LEAST and (yield from self._is_noisy()):
            n_echoes = (self._prior.budget - len(self._echoes) - len(self._pool)) // SHARE
        n_listened = len(self._echoes)
        yield from self._plain.ask(self._prior.budget - n_listened - n_echoes)
        self._echoes = Lessons(self._prior)
        while len(self._echoes) < n_echoes:
            yield from self._echo(self._rng.permutation(len(self._pool))[:n_echoes - len(self._echoes)])

    def _is_noisy(self) -> Asks[bool]:
        few = self._pool[self._rng.permutation(len(self._pool))[:PILOT]]
        there, again = (yield from self._echoes.ask(few)), (yield from self._echoes.ask(few))
        self._repeats = not np.allclose(there, again, atol=LAST_DIGITS)
        if self._repeats:
            return True
        signs = self._rng.choice((-1.0, 1.0), few.shape)
        near = yield from self._echoes.ask(few + signs * self._step)
        nearer = yield from self._echoes.ask(few + 0.5 * signs * self._step)
        by_step, by_half = np.abs(near - there).sum(), np.abs(nearer - there).sum()
        return bool(by_half > ROUGH * by_step > 0.0)

    def _echo(self, places: NDArray[np.intp]) -> Asks[None]:
        inputs = self._plain.lesson.inputs[places]  # the pool's were asked first
        if not self._repeats:
            inputs = inputs + self._step * self._rng.uniform(-1.0, 1.0, inputs.shape)
        before = len(self._echoes)
        try:
            yield from self._echoes.ask(inputs.clip(self._prior.lower, self._prior.upper))
        finally:
            self._places += places[:len(self._echoes) - before].tolist()

    def student(self) -> Student | None:
        """Of single answers, or of means where those teach more; None where nothing was answered."""
        lesson, natural = self._plain.lesson, self._plain.natural
        if not len(lesson.rows):
            return None
        if not self._places:
            return taught(lesson, self._rng, natural)
        kept = preferred([lesson, self._averaged(lesson)], lesson.labels, natural, self._rng)
        return taught(kept, self._rng, natural)

    def _averaged(self, lesson: Lesson) -> Lesson:
        """The means of answers and their echoes; where repeats are equal, so are labels, and the first is kept."""
        sums, counts = lesson.rows.copy(), np.ones((len(lesson.rows), 1))
        np.add.at(sums, self._places, self._echoes.rows)
        np.add.at(counts, self._places, 1.0)
        rows = sums / counts
        return Lesson(lesson.inputs, rows if self._repeats else keep_top(rows, lesson.rows))

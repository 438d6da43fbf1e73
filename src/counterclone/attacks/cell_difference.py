"""Take differences of answers to queries that the defence counts as one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Rows, top_labels
from counterclone.attacks._lessons import Asks, Lessons
from counterclone.attacks._linear import Linear
from counterclone.attacks._rivals import BEYOND_CHANCE
from counterclone.attacks._students import Lesson, taught
from counterclone.attacks._transfer import Transfer
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior, Surrogate
from counterclone.queries import ZERO_BELOW, Features
from counterclone.randomness import Generator

CENTRES = 3
"""Cells that are looked into before a model is taken for linear, three queries each."""
EXTRA = 8
"""Differences beyond those that slopes need."""
INWARDS = 0.05
"""How far centres stay inside the sensible range, as a share of it, so that no move is clipped."""
WITHIN = 0.9
UNEVEN = 0.02
"""Differences of a linear model are the same everywhere, and both ways, up to this share."""


class CellDifference(Spec, frozen=True):
    """Take differences of answers to queries that the defence counts as one.

    Noise that is a function of the canonical query (eight significant bits of each number) is the same within its
    cell. So the difference of two answers from one cell has none, and features + 1 of them give the slopes of a
    linear model as exactly as if nothing had been added; only its intercepts are left to average over other
    queries. A few queries tell first whether differences are those of a linear model; where they aren't (quantised
    answers show no difference, fresh noise doesn't cancel, a network bends), it is `knockoff`, as it is with
    budgets that leave no queries for the intercepts. Of the two, what predicts held-out labels better is kept.

    Needs numeric inputs and probabilities. What it gets is exact but for the intercepts; it claims nothing. It
    can't copy what isn't linear.

    After Tramer et al. 2016, "Stealing Machine Learning Models via Prediction APIs", section 4.1 (equations);
    taking differences to cancel what two answers share is folklore, and why `noise` quantises what it releases.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"numbers", "scores"})
    is_exact: ClassVar[bool] = True

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask inside a cell, then everywhere, and build."""
        differing = _Differing(prior, rng)
        with suppress(BudgetExhausted):
            yield from differing.ask()
        return differing.surrogate()


class _Differing:
    """One run: slopes from inside a cell, the rest from a plain student's queries."""

    def __init__(self, prior: Prior, rng: Generator) -> None:
        self._prior = prior
        self._rng = rng
        self._inside = Lessons(prior)
        self._plain: Transfer | None = None
        self._slopes: NDArray[np.float64] | None = None

    def ask(self) -> Asks[None]:
        """Look into cells, measure slopes where they are the same, and ask as `knockoff` does."""
        width = len(self._prior.lower)
        n_inside = 3 * CENTRES + width + 1 + EXTRA
        pool = np.asarray(self._prior.pool, dtype=np.float64)
        if len(pool) >= CENTRES and 1.25 * n_inside < self._prior.budget:
            drawn = pool[self._rng.permutation(len(pool))[:CENTRES]]
            centres = _centres(drawn, self._prior.lower, self._prior.upper)
            if (yield from self._is_even(centres)):
                self._slopes = yield from self._measured(centres[0], width + EXTRA)
        self._plain = Transfer(replace(self._prior, budget=self._inside.left), "auto", self._rng)
        yield from self._plain.ask(self._inside.left)

    def _is_even(self, centres: Features) -> Asks[bool]:
        """Whether one move makes the same difference in every cell, and back the opposite."""
        move = _room(centres).min(axis=0) * self._rng.choice((-1.0, 1.0), centres.shape[1])
        logs = []
        for moved in (centres - move, centres, centres + move):
            logs.append(_logs((yield from self._inside.ask(moved))))
        before, there, after = logs
        differences = np.stack([there - before, after - there])
        largest = np.abs(differences).max()
        return bool(largest > 0.0 and np.ptp(differences, axis=(0, 1)).max() <= UNEVEN * largest)

    def _measured(self, centre: Features, n: int) -> Asks[NDArray[np.float64]]:
        """The slopes of the logarithms, centred: (classes, features)."""
        moves = _room(centre) * self._rng.choice((-1.0, 1.0), (n, len(centre)))
        asked = np.concatenate([centre[None], centre + moves])
        logs = _logs((yield from self._inside.ask(asked)))
        slopes: NDArray[np.float64] = np.linalg.lstsq(asked[1:] - centre, logs[1:] - logs[0], rcond=None)[0].T
        return slopes

    def surrogate(self) -> Surrogate | None:
        """The linear model; a student where that predicts held-out labels, which may be noisy, clearly better."""
        if self._plain is None or not len(self._plain.lessons):
            return taught(Lesson(np.asarray(self._inside.inputs), self._inside.rows), self._rng)
        lesson = self._plain.lesson
        linear = self._linear(lesson)
        if linear is None:
            return self._plain.student()
        known, held = np.split(self._rng.permutation(len(lesson.rows)), [2 * len(lesson.rows) // 3])
        rivals = self._linear(lesson.take(known)), taught(lesson.take(known), self._rng)
        by_slopes, by_student = (
            np.zeros(len(held)) if rival is None
            else (top_labels(rival.answer(lesson.inputs[held])) == lesson.labels[held]).astype(np.float64)
            for rival in rivals)
        gains = by_student - by_slopes
        is_better = gains.sum() > BEYOND_CHANCE * gains.std() * np.sqrt(len(gains))
        return self._plain.student() if is_better else linear

    def _linear(self, lesson: Lesson) -> Linear | None:
        """The slopes with the intercepts that fit answers; None where there are none."""
        if self._slopes is None:
            return None
        offsets = _logs(lesson.rows) - lesson.inputs @ self._slopes.T
        told = np.isfinite(offsets).all(axis=1)
        if not np.isfinite(self._slopes).all() or not told.any():
            return None
        return Linear(np.column_stack([self._slopes, offsets[told].mean(axis=0)]))


def _centres(inputs: Features, lower: Features, upper: Features) -> Features:
    """Middles of cells near inputs, inside the range: (n, features)."""
    inwards = INWARDS * (upper - lower)
    single = inputs.clip(lower + inwards, upper - inwards).astype(np.float32)
    middles = (single.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)
    return np.where(np.abs(middles) < 2.0 * ZERO_BELOW, 0.0, middles)


def _room(centres: Features) -> Features:
    """How far each number may move without leaving its cell: 2^-9 of it at least."""
    return WITHIN * np.where(centres == 0.0, ZERO_BELOW, np.abs(centres) * 2.0**-9)


def _logs(rows: Rows) -> NDArray[np.float64]:
    """Centred logarithms, not numbers where a probability is zero: (n, classes)."""
    logs = np.log(np.where(rows > 0.0, rows, np.nan))
    centred: NDArray[np.float64] = logs - logs.mean(axis=1, keepdims=True)
    return centred

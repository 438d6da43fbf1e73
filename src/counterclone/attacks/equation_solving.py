"""Solve a linear model's equations."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from counterclone.answers import Rows
from counterclone.attacks._box import Box
from counterclone.attacks._linear import Linear, uncoordinated, with_ones
from counterclone.attacks._notebook import Asks, Notebook
from counterclone.attacks._precision import precision
from counterclone.attacks._regression import (
    Fit,
    by_free_likelihood,
    by_likelihood,
    by_log_ratios,
    by_one_vs_rest,
    shown,
)
from counterclone.errors import BudgetExhausted
from counterclone.fidelity import divergence
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.queries import Features
from counterclone.randomness import Generator

PILOT = 8
HELD_OUT = 10
LEAST_HELD_OUT = 3
ROOM = 1.25
"""Equations a parameter for the fit that isn't linear."""
SATURATED = 2.0
"""Where the second largest probability is fewer errors than this, a row tells little but its label."""
TELLING = 0.5
"""The share of rows that do, from which inputs are near enough."""
CLEARLY = 0.8
"""The divergence of a fit, against a simpler one's, from which it is better."""
LEAST_SPREAD = 1.0 / 64.0
EXACT = 1e-4
"""The largest error of a logarithm that is the answers' last digits."""


class EquationSolving(Spec, frozen=True):
    """Solve for the parameters of a linear model from its probabilities.

    The logarithm of the ratio of two probabilities of a softmax or logistic regression is linear in the input, so
    features + 1 queries give as many linear equations for each class, and the model itself. One-vs-rest models,
    whose rows are sigmoids divided by their sum, take a few more and a nonlinear fit. Rounded answers are fitted
    by maximum likelihood, and buy the owner a factor in queries. It looks at the answers for what they are: how
    exact, whole or cut to the largest few, softmax or one-vs-rest (whatever answers held-out queries better); and
    it asks nearer to the pool where answers are saturated.

    Needs probabilities. What it builds is exact where the model is linear and answers have six decimals or more;
    it stops before its budget where queries that it held back show that. It can't copy what isn't linear.

    Tramer et al. 2016, "Stealing Machine Learning Models via Prediction APIs", section 4.1; rounding: section 7.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"numbers", "scores"})
    is_exact: ClassVar[bool] = True

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask, and solve."""
        solving = _Solving(prior, rng)
        try:
            return (yield from solving.ask())
        except BudgetExhausted:
            return solving.surrogate()


class _Solving:
    """One run: what was asked, and how to go on."""

    def __init__(self, prior: Prior, rng: Generator) -> None:
        self._box = Box.of(prior)
        self._pool = np.asarray(prior.pool, dtype=np.float64)
        self._rng = rng
        self._notes = Notebook(prior)
        self._unknowns = len(self._box.centre) + 1
        self._sigmoids = math.ceil(ROOM * self._unknowns * prior.classes / max(prior.classes - 1, 1))
        self._block = self._box.design(rng)

    def ask(self) -> Asks[Linear | None]:
        """Ask for as many equations as there are unknowns, and more only where the answers don't fit them."""
        spread = yield from self._pilot()
        for n_equations in (self._unknowns, self._sigmoids):
            yield from self._ask(max(n_equations - len(self._notes), 0), spread)
            yield from self._ask(HELD_OUT, spread)
            found = self.surrogate() if precision(self._notes.rows).is_fine else None
            if found is not None and found.is_verified:
                return found
        yield from self._ask(self._notes.left, spread)
        return self.surrogate()

    def _pilot(self) -> Asks[float]:
        """Ask a few queries, ever nearer to the pool until the answers tell more than a label."""
        found: list[tuple[float, float]] = []
        spread = 1.0
        while spread >= LEAST_SPREAD:
            yield from self._ask(PILOT, spread)
            rows = self._notes.rows
            second = np.sort(rows[-PILOT:], axis=1)[:, -2]
            found.append(((second > SATURATED * precision(rows).absolute).mean(), spread))
            if found[-1][0] >= TELLING:
                break
            spread /= 2.0
        return max(found)[1]

    def _ask(self, n: int, spread: float) -> Asks[None]:
        """Ask the next `n` of the design, moved towards the pool until `spread` of the way is left."""
        while len(self._block) < n:
            self._block = np.concatenate([self._block, self._box.design(self._rng)])
        asked, self._block = self._block[:n], self._block[n:]
        if spread < 1.0 and len(self._pool):
            near = self._pool[self._rng.integers(0, len(self._pool), n)]
            asked = near + spread * (asked - near)
        yield from self._notes.ask(asked)

    def surrogate(self) -> Linear | None:
        """The model that answers held-out queries best, fitted to all; None where nothing was answered."""
        rows = self._notes.rows
        if not len(rows):
            return None
        inputs = self._box.coordinates(self._notes.inputs)
        n_held = min(len(rows) - self._unknowns, max(HELD_OUT, len(rows) // 10))
        if n_held < LEAST_HELD_OUT:
            return _moved(_model(_ways(rows, has_room=False)[0], inputs, rows), self._box, is_verified=False)
        n_fitted = len(rows) - n_held
        best: Fit = by_likelihood
        least = math.inf
        for fit in _ways(rows, has_room=len(rows) >= self._sigmoids):
            model = _model(fit, inputs[:n_fitted], rows[:n_fitted])
            answers = model.answer(inputs[n_fitted:])
            if _is_exact(rows[n_fitted:], answers):
                return _moved(model, self._box, is_verified=True)
            error = divergence(rows[n_fitted:], answers)
            if error < CLEARLY * least:
                best, least = fit, error
        return _moved(_model(best, inputs, rows), self._box, is_verified=False)


def _model(fit: Fit, inputs: Features, rows: Rows) -> Linear:
    return Linear(fit(with_ones(inputs), rows), one_vs_rest=fit is by_one_vs_rest)


def _moved(model: Linear, box: Box, *, is_verified: bool) -> Linear:
    """The model of inputs, for one of their coordinates."""
    return Linear(uncoordinated(model.parameters, box), one_vs_rest=model.one_vs_rest, is_verified=is_verified)


def _is_exact(rows: Rows, answers: Rows) -> bool:
    """Whether answers are off by no more than last digits."""
    told = shown(rows)[0] & (precision(rows).of_logs(rows) < EXACT / 10.0)
    return bool(told.any() and np.abs(np.log(answers[told]) - np.log(rows[told])).max() < EXACT)


def _ways(rows: Rows, *, has_room: bool) -> list[Fit]:
    """How these answers may be fitted, the most likely first; `has_room` for one that isn't linear."""
    if not shown(rows)[0].all():
        return [by_likelihood]
    ways: list[Fit] = ([by_log_ratios, by_likelihood] if precision(rows).is_fine
                       else [by_likelihood, by_free_likelihood])
    if has_room and rows.shape[1] > 2:
        ways.append(by_one_vs_rest)
    return ways

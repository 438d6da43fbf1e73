"""Undo a perturbation that was learnt on a shadow model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from counterclone import plugins
from counterclone.answers import Context, Rows
from counterclone.attacks._kernel import regressed
from counterclone.attacks._rivals import labels_only, preferred
from counterclone.attacks._students import Effort, Lesson, Scale, Student, fitted, taught
from counterclone.attacks._transfer import Transfer
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Policy, Prior
from counterclone.queries import Features, Query
from counterclone.randomness import Generator, Prf
from counterclone.releases import released

GUESSES: tuple[Mapping[str, Any], ...] = (
    {"kind": "reverse_sigmoid"}, {"kind": "reverse_sigmoid", "beta": 1.0, "gamma": 0.1},
    {"kind": "reverse_sigmoid", "beta": 0.4, "gamma": 0.4}, {"kind": "temperature", "temperature": 3.0})
"""Policies that distort."""
TEMPERATURES = (1.0, 1.5, 2.5)
"""The way back is learnt from less sure rows as well, since a shadow model may be surer than the target."""
MOST = 1000
"""Inputs of the pool that the shadow model answers."""
CLEARLY = 0.5
"""A guess must bring the shadow's answers so much nearer to the target's."""
LEAST = 1e-6


class Denoising(Spec, frozen=True):
    """Undo a perturbation that was learnt on a shadow model.

    Where a policy maps probabilities to others, who guesses the policy can learn the way back. It asks what
    `knockoff` asks; trains a shadow model on the labels; puts it behind each guess (`reverse_sigmoid` with three
    pairs of options, `temperature`) and behind none; takes the guess under which the shadow's answers look most
    like the target's; and learns to predict what the shadow knew from what it released. Where a guess comes
    clearly nearer than none, the student learns from answers that were taken back so, unless a student of the
    answers as they are predicts held-out labels better.

    Needs numeric inputs and probabilities. It can't undo noise, which no map brings back (students average it),
    nor a policy that isn't like one of its guesses; of rows that a policy made equal it gets a mean.

    In the manner of Chen et al. 2023, "D-DAE: Defense-Penetrating Model Extraction Attacks" (detect the defence on
    shadow models, then recover); a Gaussian process stands for its generative network.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"numbers", "scores"})
    is_exact: ClassVar[bool] = True

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask, undo, and learn."""
        transfer = Transfer(prior, "auto", rng)
        with suppress(BudgetExhausted):
            yield from transfer.ask(prior.budget)
        return _better(transfer, np.asarray(prior.pool, dtype=np.float64)[:MOST], rng)


def _better(transfer: Transfer, pool: Features, rng: Generator) -> Student | None:
    lesson, natural = transfer.lesson, transfer.natural
    if not len(lesson.rows):
        return None
    known = _shadow_rows(lesson, pool if len(pool) else lesson.inputs, rng)
    distances = [_Shadow.behind(guess, known).distance(lesson.rows) for guess in (None, *GUESSES)]
    likeliest = int(np.argmin(distances))
    if distances[likeliest] > CLEARLY * distances[0]:
        return taught(lesson, rng, natural)
    tempered = np.concatenate([_tempered(known, temperature) for temperature in TEMPERATURES])
    shadow = _Shadow.behind(GUESSES[likeliest - 1], tempered)
    undone = Lesson(lesson.inputs, shadow.undone(lesson.rows, rng))
    return taught(preferred([undone, lesson], lesson.labels, natural, rng), rng, natural)


def _shadow_rows(lesson: Lesson, inputs: Features, rng: Generator) -> Rows:
    """What a network that was taught the labels answers: (inputs, classes)."""
    scale = Scale.of(lesson.inputs)
    shadow = fitted("network", labels_only(Lesson(scale.scaled(lesson.inputs), lesson.rows)), Effort(), rng)
    return _tempered(np.maximum(shadow(scale.scaled(inputs)), LEAST), 1.0)


def _tempered(rows: Rows, temperature: float) -> Rows:
    powers = rows**(1.0 / temperature)
    tempered: Rows = powers / powers.sum(axis=1, keepdims=True)
    return tempered


class _Shadow(NamedTuple):
    """Rows of a shadow model, and what a policy makes of them: classes in the order of the latter, the largest
    first.

    Attributes:
        rows: what the model answers, (n, classes).
        shown: what leaves of it.
    """

    rows: Rows
    shown: Rows

    @classmethod
    def behind(cls, guess: Mapping[str, Any] | None, rows: Rows) -> _Shadow:
        """A shadow model behind a policy, or behind none."""
        policies = [] if guess is None else [cast(Policy, plugins.build("policies", guess, "a guess"))]
        context = Context(Prf.from_secret("a shadow's"), Query(np.empty((len(rows), 0))))
        shown = released(policies, context, rows)
        order = _order(shown)
        return cls(np.take_along_axis(rows, order, axis=1), np.take_along_axis(shown, order, axis=1))

    def distance(self, rows: Rows) -> float:
        """How far answers are from the nearest that the shadow released, a mean."""
        return float(cdist(np.take_along_axis(rows, _order(rows), axis=1), self.shown).min(axis=1).mean())

    def undone(self, rows: Rows, rng: Generator) -> Rows:
        """What is likely behind answers, by a regression of what was behind the shadow's: (n, classes)."""
        scale, order = Scale.of(_logs(self.shown)), _order(rows)
        logs = _logs(self.rows)
        way_back = regressed(scale.scaled(_logs(self.shown)), logs - logs.mean(axis=1, keepdims=True), rng)
        found = np.empty_like(rows)
        ordered = np.take_along_axis(rows, order, axis=1)
        np.put_along_axis(found, order, way_back.answer(scale.scaled(_logs(ordered))), axis=1)
        return found


def _order(rows: Rows) -> NDArray[np.intp]:
    """Classes from the largest down, the first of equals first: (n, classes)."""
    return np.argsort(-rows, axis=1, kind="stable")


def _logs(rows: Rows) -> NDArray[np.float64]:
    logs: NDArray[np.float64] = np.log(np.maximum(rows, LEAST))
    return logs

"""A semi-supervised student of labels alone."""

from __future__ import annotations

from collections.abc import Generator as Generates
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np

from counterclone.answers import Reply, Rows, top_labels
from counterclone.attacks._lessons import Asks
from counterclone.attacks._students import Effort, Lesson, Scale, Student, fitted, taught
from counterclone.attacks._transfer import Transfer, distinct
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.queries import Features, Inputs
from counterclone.randomness import Generator

NEIGHBOURS = 7
CHANGEABLE = 0.2
"""How far a label may give way to its neighbours'."""
FOLDS = 4
LEAST = 12
"""Labels that are too few to hold some out, or to have neighbours."""
MOST = 3000
"""Inputs without labels that labels are spread over."""


class HardLabel(Spec, frozen=True):
    """Train a semi-supervised student on labels alone.

    Every defence that keeps the label leaves this attack as it was, so it is the floor of all that only change
    probabilities: of each answer it looks at the label, whatever else is there. It asks what `knockoff` would ask
    of an API of labels, then spreads the labels over the pool's other inputs, along a graph of nearest neighbours
    on which near inputs are to agree (consistency), and what they come to have are pseudo-labels. Where students
    of the asked labels alone predict held-out ones better, it keeps such a student.

    Needs numeric inputs; the spreading needs a pool that is larger than the budget. Its probabilities say little.

    Zhou et al. 2004, "Learning with Local and Global Consistency", section 2; labels as an attack: Orekondy et al.
    2019, "Knockoff Nets", section 5 (argmax).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"numbers"})
    is_exact: ClassVar[bool] = False

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask, spread, and learn."""
        transfer = Transfer(prior, "auto", rng)
        with suppress(BudgetExhausted):
            yield from _labels_of(transfer.ask(prior.budget))
        return _better(transfer, np.asarray(prior.pool, dtype=np.float64), rng)


def _labels_of(asking: Generates[Inputs, Reply, None]) -> Asks[None]:
    """A part of an attack that is told labels only."""
    inputs = next(asking)
    while True:
        try:
            rows = (yield inputs).rows
        except BudgetExhausted as error:
            asking.throw(error)
            raise
        try:
            inputs = asking.send(Reply(np.eye(rows.shape[1])[top_labels(rows)]))
        except StopIteration:
            return


def _better(transfer: Transfer, pool: Features, rng: Generator) -> Student | None:
    """A student of the labels, or of what they become when they are spread."""
    lesson = transfer.lesson
    student = taught(lesson, rng, transfer.natural)
    rest = _unasked(distinct(pool), lesson.inputs)
    if student is None or len(lesson.rows) < LEAST or not len(rest) or len(np.unique(lesson.labels)) == 1:
        return student
    rest = rest[rng.permutation(len(rest))[:MOST]]
    scale = Scale.of(np.concatenate([lesson.inputs, rest]))
    scaled, unlabelled = Lesson(scale.scaled(lesson.inputs), lesson.rows), scale.scaled(rest)
    gained = 0
    for fold in np.array_split(rng.permutation(len(scaled.rows)), FOLDS):
        known, judged = scaled.take(~np.isin(np.arange(len(scaled.rows)), fold)), scaled.take(fold)
        plain = fitted(student.family, known, Effort(), rng)
        spread = _Spread(known, np.concatenate([unlabelled, judged.inputs]))
        gained += _right(spread.answer(judged.inputs), judged) - _right(plain(judged.inputs), judged)
    return Student("spread", scale, _Spread(scaled, unlabelled).answer) if gained > 0 else student


def _right(rows: Rows, judged: Lesson) -> int:
    return int((top_labels(rows) == judged.labels).sum())


def _unasked(pool: Features, asked: Features) -> Features:
    """The inputs of a pool that weren't asked."""
    known = {row.tobytes() for row in asked}
    return pool[[row.tobytes() not in known for row in pool]]


class _Spread:
    """Labels along a graph of nearest neighbours."""

    def __init__(self, lesson: Lesson, unlabelled: Features) -> None:
        from sklearn.semi_supervised import LabelSpreading

        inputs = np.concatenate([lesson.inputs, unlabelled])
        labels = np.concatenate([lesson.labels, np.full(len(unlabelled), -1)])
        self._n_classes = lesson.rows.shape[1]
        self._model: Any = LabelSpreading(
            kernel="knn", n_neighbors=min(NEIGHBOURS, len(inputs) - 1), alpha=CHANGEABLE, max_iter=300)
        self._model.fit(inputs, labels)

    def answer(self, inputs: Features) -> Rows:
        """Probabilities: (queries, classes)."""
        rows = np.zeros((len(inputs), self._n_classes))
        if not len(inputs):
            return rows
        with np.errstate(invalid="ignore"):  # zero by zero where no label came, which is to know nothing
            seen = np.nan_to_num(self._model.predict_proba(inputs)) + 1e-9
        rows[:, self._model.classes_] = seen / seen.sum(axis=1, keepdims=True)
        return rows

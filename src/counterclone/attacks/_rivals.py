"""Versions of the same answers, of which the one is kept whose students answer held-out queries better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Rows, top_labels
from counterclone.attacks._students import STEPS_JUDGED, TREES_JUDGED, Effort, Lesson, Scale, chosen, fitted
from counterclone.randomness import Generator

Mask = NDArray[np.bool_]

FOLDS = 3
LEAST = 12
"""Natural answers below which nothing is compared."""
BEYOND_CHANCE = 1.5
"""Standard errors by which a version must be better than the first."""


def labels_only(lesson: Lesson) -> Lesson:
    """The same answers without their probabilities."""
    return Lesson(lesson.inputs, np.eye(lesson.rows.shape[1])[lesson.labels])


def preferred(versions: Sequence[Lesson], labels: NDArray[np.intp], natural: Mask, rng: Generator) -> Lesson:
    """The version whose students predict held-out labels best; the first unless another is clearly better.

    Args:
        versions: lessons of the same queries, in the same order; the first is the plain one.
        labels: that the target served, (n,).
        natural: which queries are the deployment's own: students are judged on these, (n,).
        rng: draws folds and starts.
    """
    first, *others = versions
    places = rng.permutation(np.flatnonzero(natural) if natural.any() else len(labels))
    if len(places) < LEAST:
        return first
    folds = np.array_split(places, FOLDS)
    best, scores = first, _right(first, labels, natural, folds, rng)
    for lesson in others:
        found = _right(lesson, labels, natural, folds, rng)
        gains = found - scores
        if gains.mean() > BEYOND_CHANCE * gains.std() / np.sqrt(len(gains)):
            best, scores = lesson, found
    return best


def _right(lesson: Lesson, labels: NDArray[np.intp], natural: Mask, folds: Sequence[NDArray[np.intp]],
           rng: Generator) -> NDArray[np.float64]:
    """Whether each held-out label is predicted, by students of the family that fits the lesson: (judged,)."""
    scaled = Lesson(Scale.of(lesson.inputs).scaled(lesson.inputs), lesson.rows)
    family = chosen(scaled, rng, natural)
    found = []
    for fold in folds:
        known = scaled.take(~np.isin(np.arange(len(labels)), fold))
        rows: Rows = fitted(family, known, Effort(STEPS_JUDGED, TREES_JUDGED), rng)(scaled.inputs[fold])
        found.append(top_labels(rows) == labels[fold])
    return np.concatenate(found).astype(np.float64)

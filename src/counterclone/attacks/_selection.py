"""Which inputs to ask next: those whose answers a student can't tell, and that are far from what was asked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from counterclone.answers import margins, top_labels
from counterclone.attacks._students import TREES_JUDGED, Effort, Lesson, Scale, fitted
from counterclone.queries import Features
from counterclone.randomness import Generator

Places = NDArray[np.intp]

CHOSEN_OF = 4
"""So many times the batch are near the boundary, and the farthest of these are asked."""
PILOTS = 16
LEAST_PILOT = 16
"""Answers below which selection isn't tried out."""


def unsure(lesson: Lesson, candidates: Features, n: int, family: str, rng: Generator) -> Places:
    """The candidates that are nearest to the boundaries of a family's student.

    Args:
        lesson: what was asked.
        candidates: what may be, (candidates, features).
        n: how many to choose, no more than there are.
        family: of the student.
        rng: of the student.

    Returns:
        Their places, (n,).
    """
    scale = Scale.of(lesson.inputs)
    student = fitted(family, Lesson(scale.scaled(lesson.inputs), lesson.rows), Effort(trees=TREES_JUDGED), rng)
    return margins(student(scale.scaled(candidates))).argsort(kind="stable")[:n]


def uncertain(lesson: Lesson, candidates: Features, n: int, rng: Generator) -> Places:
    """The candidates to ask: the nearest to a student's boundaries, thinned out to a k-centre.

    Args:
        lesson: what was asked.
        candidates: what may be, (candidates, features).
        n: how many to choose, no more than there are.
        rng: of the student.

    Returns:
        Their places, (n,).
    """
    scale = Scale.of(np.concatenate([lesson.inputs, candidates]))
    asked, others = scale.scaled(lesson.inputs), scale.scaled(candidates)
    student = fitted("kernel", Lesson(asked, lesson.rows), Effort(), rng)
    near = margins(student(others)).argsort(kind="stable")[:CHOSEN_OF * n]
    return near[far_apart(asked, others[near], n)]


def far_apart(asked: Features, candidates: Features, n: int) -> Places:
    """Candidates, each the farthest from what was asked or chosen before (Sener, Savarese 2018, algorithm 1)."""
    gaps = cdist(candidates, asked, "sqeuclidean").min(axis=1)
    places = np.empty(n, dtype=np.intp)
    for place in range(n):
        places[place] = gaps.argmax()
        new = ((candidates - candidates[places[place]])**2).sum(axis=1)
        gaps = np.minimum(gaps, new)
        gaps[places[place]] = -1.0
    return places


def pays(lesson: Lesson, rng: Generator) -> bool:
    """Whether selection would have done as well as chance among what was asked at random, at equal queries.

    A third of the answers is held out; from the rest, students choose half or draw it.

    Args:
        lesson: inputs that were drawn at random, with their answers.
        rng: draws who is held out.
    """
    if len(lesson.rows) < LEAST_PILOT:
        return False
    gains = [_gain(lesson, rng) for _ in range(PILOTS)]
    return float(np.mean(gains)) >= 0.0


def _gain(lesson: Lesson, rng: Generator) -> float:
    order = rng.permutation(len(lesson.rows))
    n_held_out = len(order) // 3
    judged, offered = lesson.take(order[:n_held_out]), lesson.take(order[n_held_out:])
    half = len(offered.rows) // 2
    start = half // 2
    seed, rest = offered.take(np.arange(start)), np.arange(start, len(offered.rows))
    picked = rest[uncertain(seed, offered.inputs[rest], half - start, rng)]
    selected = offered.take(np.concatenate([np.arange(start), picked]))
    return _agreement(selected, judged, rng) - _agreement(offered.take(np.arange(half)), judged, rng)


def _agreement(lesson: Lesson, judged: Lesson, rng: Generator) -> float:
    scale = Scale.of(lesson.inputs)
    student = fitted("kernel", Lesson(scale.scaled(lesson.inputs), lesson.rows), Effort(), rng)
    return float((top_labels(student(scale.scaled(judged.inputs))) == judged.labels).mean())

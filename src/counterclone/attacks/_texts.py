"""Students of models of text: hashed words and runs of characters, and a ridge."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from scipy.special import softmax

from counterclone.answers import Rows
from counterclone.attacks._lessons import Asks, Lessons
from counterclone.attacks._students import Lesson
from counterclone.errors import BudgetExhausted
from counterclone.protocols import Asking, Prior
from counterclone.queries import Inputs
from counterclone.randomness import Generator

RIDGES = (0.03, 0.3, 3.0)
FOLDS = 3
FEW = 12
"""Answers that are too few to hold some out."""
MOST_JUDGED = 1500
SURENESS = 4.0
"""What a label counts as in log-odds, since scores of labels are between 0 and 1."""


class TextTransfer:
    """Queries from a pool of texts, and beyond it texts that are spliced of two; the student of their answers.

    Args:
        prior: of a target that takes texts.
        rng: everything random comes from it.
    """

    def __init__(self, prior: Prior, rng: Generator) -> None:
        self._lessons = Lessons(prior)
        self._budget = prior.budget
        self._pool = list(dict.fromkeys(prior.pool))
        self._rng = rng

    def run(self) -> Asking:
        """Ask for the whole budget, and learn."""
        with suppress(BudgetExhausted):
            yield from self._ask()
        return taught_texts(self._lessons, self._rng)

    def _ask(self) -> Asks[None]:
        order = self._rng.permutation(len(self._pool))[:self._budget]
        yield from self._lessons.ask([self._pool[place] for place in order])
        if self._pool:
            yield from self._lessons.ask([self._spliced() for _ in range(self._lessons.left)])

    def _spliced(self) -> str:
        """The beginning of one text and the end of another."""
        one, other = (self._pool[place].split() for place in self._rng.integers(0, len(self._pool), 2))
        cut, start = self._rng.integers(0, len(one) + 1), self._rng.integers(0, len(other) + 1)
        return " ".join(one[:cut] + other[start:]) or " ".join(one + other)


class TextStudent:
    """A linear model of hashed words and runs of characters.

    Args:
        model: scikit-learn's ridge, of centred log-probabilities.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def answer(self, inputs: Inputs) -> Rows:
        """Probabilities: (queries, classes)."""
        rows: Rows = softmax(np.asarray(self._model.predict(counted(inputs))), axis=1)
        return rows


def taught_texts(lessons: Lessons, rng: Generator) -> TextStudent | None:
    """A student of all answers, whose ridge predicts held-out labels best; None where nothing was answered."""
    lesson = Lesson(np.empty((len(lessons), 0)), lessons.rows)
    if not len(lesson.rows):
        return None
    aims = SURENESS * lesson.rows if lesson.is_hard else lesson.logs
    counts = counted(lessons.inputs)
    return TextStudent(_ridge(_best_ridge(counts, aims, lesson.labels, rng)).fit(counts, aims))


def counted(texts: Inputs) -> Any:
    """Words, pairs of words and runs of two to four characters, hashed, each kind to length 1: a sparse matrix."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import HashingVectorizer

    kinds = ({"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
             {"analyzer": "char_wb", "ngram_range": (2, 4)})
    return hstack([HashingVectorizer(alternate_sign=False, **kind).transform(texts) for kind in kinds]).tocsr()


def _ridge(strength: float) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(strength, solver="sparse_cg", tol=1e-3)


def _best_ridge(counts: Any, aims: Rows, labels: Any, rng: Generator) -> float:
    if len(labels) < FEW:
        return RIDGES[1]
    order = rng.permutation(len(labels))[:MOST_JUDGED]
    judged, learnt = np.split(order, [len(order) // FOLDS])
    agreed = [(_ridge(strength).fit(counts[learnt], aims[learnt]).predict(counts[judged]).argmax(axis=1)
               == labels[judged]).mean() for strength in RIDGES]
    return RIDGES[int(np.argmax(agreed))]

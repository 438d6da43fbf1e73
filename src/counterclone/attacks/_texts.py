"""Students of models of text: hashed words and runs of characters, and a ridge."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from counterclone.answers import Rows, top_labels
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
HASHES = 2**18
"""Features of each kind that are told apart."""
MOST_STEPS, ENOUGH = 100, 1e-2
"""Of the conjugate gradients, and the share of what was to be explained that may be left."""
LEAST = 1e-30
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
            yield from self._lessons.ask([spliced(self._pool, self._rng) for _ in range(self._lessons.left)])


def spliced(pool: list[str], rng: Generator) -> str:
    """The beginning of one text and the end of another, as long as the first: length tells as well."""
    one, other = (pool[place].split() for place in rng.integers(0, len(pool), 2))
    cut = rng.integers(0, len(one) + 1)
    return " ".join(one[:cut] + other[cut - len(one):][:len(one) - cut]) or " ".join(one + other)


class TextStudent:
    """A linear model of hashed words and runs of characters.

    Args:
        weights: of each, (features, classes).
        mean: what is answered to a text without any, in log-odds, (classes,).
    """

    def __init__(self, weights: NDArray[np.float32], mean: NDArray[np.float32]) -> None:
        self._weights = weights
        self._mean = mean

    def answer(self, inputs: Inputs) -> Rows:
        """Probabilities: (queries, classes)."""
        return self.told(counted(inputs))

    def told(self, counts: Any) -> Rows:
        """As `answer`, of texts that are counted."""
        rows: Rows = softmax((counts @ self._weights + self._mean).astype(np.float64), axis=1)
        return rows


def taught_texts(lessons: Lessons, rng: Generator) -> TextStudent | None:
    """A student of all answers, whose ridge predicts held-out labels best; None where nothing was answered."""
    lesson = Lesson(np.empty((len(lessons), 0)), lessons.rows)
    if not len(lesson.rows):
        return None
    aims = (SURENESS * lesson.rows if lesson.is_hard else lesson.logs).astype(np.float32)
    counts = counted(lessons.inputs)
    return ridge(counts, aims, _best_ridge(counts, aims, lesson.labels, rng))


def counted(texts: Inputs) -> Any:
    """Words, pairs of words and runs of two to four characters, hashed, each kind to length 1: a sparse matrix."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import HashingVectorizer

    kinds = ({"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"},
             {"analyzer": "char_wb", "ngram_range": (2, 4)})
    return hstack([HashingVectorizer(n_features=HASHES, alternate_sign=False, dtype=np.float32,
                                     **kind).transform(texts) for kind in kinds]).tocsr()


def ridge(counts: Any, aims: NDArray[np.float32], strength: float) -> TextStudent:
    """Ridge regression, of all classes at once, since there may be hundreds.

    The weights are a combination of the texts, which are fewer than the features. It is found by conjugate
    gradients (Hestenes and Stiefel 1952, section 3), a step of which looks at every text twice.

    Args:
        counts: of n texts, (n, features).
        aims: what to answer, (n, classes).
        strength: of the penalty.
    """
    mean = aims.mean(axis=0)
    seen = np.unique(counts.indices)
    counts = counts[:, seen]
    back = counts.T.tocsr()
    shares = np.zeros_like(aims)
    left = aims - mean
    way, size = left.copy(), (left * left).sum(axis=0)
    enough = ENOUGH**2 * size
    for _ in range(MOST_STEPS):
        going = size > enough
        if not going.any():
            break
        towards = way[:, going]
        ahead = counts @ (back @ towards) + strength * towards
        step = size[going] / np.maximum((towards * ahead).sum(axis=0), LEAST)
        shares[:, going] += step * towards
        left[:, going] -= step * ahead
        before, size = size, (left * left).sum(axis=0)
        way = left + size / np.maximum(before, LEAST) * way
    weights = np.zeros((2 * HASHES, aims.shape[1]), np.float32)
    weights[seen] = back @ shares
    return TextStudent(weights, mean)


def _best_ridge(counts: Any, aims: NDArray[np.float32], labels: Any, rng: Generator) -> float:
    if len(labels) < FEW:
        return RIDGES[1]
    order = rng.permutation(len(labels))[:MOST_JUDGED]
    judged, learnt = np.split(order, [len(order) // FOLDS])
    students = [ridge(counts[learnt], aims[learnt], strength) for strength in RIDGES]
    agreed = [(top_labels(student.told(counts[judged])) == labels[judged]).mean() for student in students]
    return RIDGES[int(np.argmax(agreed))]

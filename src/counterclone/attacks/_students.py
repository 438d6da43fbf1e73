"""Students: models of several families, of which the one that agrees best on held-out answers is kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from counterclone.answers import Rows, top_labels
from counterclone.attacks._convolution import convolved, fits
from counterclone.attacks._kernel import regressed
from counterclone.attacks._linear import log_rows, with_ones
from counterclone.attacks._network import Aims, trained
from counterclone.attacks._precision import precision
from counterclone.attacks._regression import by_likelihood, by_log_ratios
from counterclone.queries import Features, Inputs
from counterclone.randomness import Generator

STEPS, STEPS_JUDGED = 800, 300
TREES, TREES_JUDGED = 30, 10
CONFIDENCE = 10.0
"""How much labels count against a smooth boundary, the inverse of the penalty's weight."""
MOST_STEPS = 500
FOLDS = 3
MANY = 600
"""Answers from which one split tells families apart, and no folds are needed."""
MOST_JUDGED = 4000
"""Answers that families are compared on."""
FEW = 8
"""Answers that are too few to hold some out."""
GOOD_ENOUGH = 0.995
ONE_UNIT = 4.0
"""Features whose largest range is at most so many times the middle one are taken for one unit, such as pixels."""


class Lesson(NamedTuple):
    """What a student learns from.

    Attributes:
        inputs: (n, features).
        rows: the target's answers, (n, classes).
    """

    inputs: Features
    rows: Rows

    @property
    def labels(self) -> NDArray[np.intp]:
        """The label of each answer, (n,)."""
        return top_labels(self.rows)

    @property
    def is_hard(self) -> bool:
        """Whether the answers are labels only."""
        return bool(((self.rows == 0.0) | (self.rows == 1.0)).all())

    @property
    def logs(self) -> NDArray[np.float64]:
        """Centred log-probabilities, (n, classes); zero counts as half of the least that the answers can tell."""
        told = self.rows[self.rows > 0.0]
        least = max(precision(self.rows).absolute, float(told.min()) / 2.0)
        logs = np.log(np.maximum(self.rows, least))
        centred: NDArray[np.float64] = logs - logs.mean(axis=1, keepdims=True)
        return centred

    def take(self, places: NDArray[Any]) -> Lesson:
        """Some of it, by place or mask."""
        return Lesson(self.inputs[places], self.rows[places])


class Effort(NamedTuple):
    """How long a student is taught.

    Attributes:
        steps: of a network.
        trees: of a forest.
    """

    steps: int = STEPS
    trees: int = TREES


Answering = Callable[[Features], Rows]
Family = Callable[[Lesson, Effort, Generator], Answering]
"""A way to learn: the lesson has scaled inputs."""


class Scale(NamedTuple):
    """Where inputs lie, and how far they spread.

    Attributes:
        centre: (features,).
        width: standard deviation of each feature; the same for all of one unit.
    """

    centre: Features
    width: Features

    @classmethod
    def of(cls, inputs: Features) -> Scale:
        """The scale of some inputs."""
        deviations = inputs.std(axis=0)
        ranges = np.ptp(inputs, axis=0)
        varied = ranges > 0.0
        if not varied.any():
            return cls(inputs.mean(axis=0), np.ones(inputs.shape[1]))
        if ranges.max() <= ONE_UNIT * np.median(ranges[varied]):
            deviations = np.full(inputs.shape[1], np.sqrt((deviations[varied]**2).mean()))
        return cls(inputs.mean(axis=0), np.where(deviations > 0.0, deviations, 1.0))

    def scaled(self, inputs: Inputs) -> Features:
        """Inputs with mean 0 and deviation about 1, (n, features)."""
        scaled: Features = (np.asarray(inputs, dtype=np.float64) - self.centre) / self.width
        return scaled


class Student:
    """A surrogate that learnt.

    Args:
        family: its kind.
        scale: of the inputs that it learnt from.
        answering: the model itself.

    Attributes:
        family: as above.
    """

    def __init__(self, family: str, scale: Scale, answering: Answering) -> None:
        self.family = family
        self._scale = scale
        self._answering = answering

    def answer(self, inputs: Inputs) -> Rows:
        """Probabilities: (queries, classes)."""
        return self._answering(self._scale.scaled(inputs))


# Families

def linear(lesson: Lesson, effort: Effort, rng: Generator) -> Answering:
    """A softmax regression: by least squares where answers are exact, else the likeliest."""
    if lesson.is_hard:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        with warnings.catch_warnings():  # nearly converged is as good for a copy
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=CONFIDENCE, max_iter=MOST_STEPS).fit(lesson.inputs, lesson.labels)
        return _of_seen(model.predict_proba, model.classes_, lesson.rows.shape[1])
    is_exact = precision(lesson.rows).is_fine and bool((lesson.rows > 0.0).all())
    parameters = (by_log_ratios if is_exact else by_likelihood)(with_ones(lesson.inputs), lesson.rows)
    return lambda inputs: np.exp(log_rows(with_ones(inputs) @ parameters.T))


def kernel(lesson: Lesson, effort: Effort, rng: Generator) -> Answering:
    """A Gaussian process of the log-probabilities, a support vector machine of labels."""
    if not lesson.is_hard:
        return regressed(lesson.inputs, lesson.logs, rng).answer
    from sklearn.svm import SVC

    model = SVC(C=CONFIDENCE, gamma="scale").fit(lesson.inputs, lesson.labels)
    return _of_seen(lambda inputs: _odds(model.decision_function(inputs)), model.classes_, lesson.rows.shape[1])


def network(lesson: Lesson, effort: Effort, rng: Generator) -> Answering:
    """A network of the log-probabilities, by squares and cross-entropy, or of labels."""
    aims = Aims(lesson.rows, lesson.logs, 0.0 if lesson.is_hard else 0.1)
    return trained(lesson.inputs, aims, effort.steps, rng).answer


def convolution(lesson: Lesson, effort: Effort, rng: Generator) -> Answering:
    """A network of convolutions, for images, where torch is installed."""
    aims = Aims(lesson.rows, lesson.logs, 0.0 if lesson.is_hard else 0.1)
    return convolved(lesson.inputs, aims, effort.steps, rng).answer


def forest(lesson: Lesson, effort: Effort, rng: Generator) -> Answering:
    """A random forest whose trees look at every feature: for trees."""
    from sklearn.ensemble import RandomForestRegressor

    return _averages(RandomForestRegressor(effort.trees, max_features=1.0, random_state=_seed(rng)), lesson)


def extra_trees(lesson: Lesson, effort: Effort, rng: Generator) -> Answering:
    """Extremely randomised trees: for forests."""
    from sklearn.ensemble import ExtraTreesRegressor

    width = lesson.inputs.shape[1]
    n_seen = min(width, max(4, round(0.3 * width)))
    return _averages(ExtraTreesRegressor(2 * effort.trees, max_features=n_seen, random_state=_seed(rng)), lesson)


FAMILIES: Mapping[str, Family] = MappingProxyType({
    "kernel": kernel, "linear": linear, "network": network, "extra_trees": extra_trees, "forest": forest})
"""From the one that is right most often; among equals the first is kept."""
DEEP: Mapping[str, Family] = MappingProxyType({"convolution": convolution})
"""For images, where torch is installed."""


def _averages(model: Any, lesson: Lesson) -> Answering:
    model.fit(lesson.inputs, lesson.rows)

    def answer(inputs: Features) -> Rows:
        rows = np.asarray(model.predict(inputs), dtype=np.float64).clip(0.0)
        normalised: Rows = rows / rows.sum(axis=1, keepdims=True)
        return normalised

    return answer


def _of_seen(answering: Answering, seen: NDArray[np.intp], n_classes: int) -> Answering:
    """Answers about the classes that were seen as answers about all."""
    def answer(inputs: Features) -> Rows:
        rows = np.zeros((len(inputs), n_classes))
        rows[:, seen] = answering(inputs)
        return rows

    return answer


def _odds(decisions: NDArray[np.float64]) -> Rows:
    """The rows of a machine's decisions, which are one number an input where there are two classes."""
    rows: Rows = softmax(np.column_stack([-decisions, decisions]) if decisions.ndim == 1 else decisions, axis=1)
    return rows


def _seed(rng: Generator) -> int:
    return int(rng.integers(2**31))


# The choice

def taught(lesson: Lesson, rng: Generator, natural: NDArray[np.bool_] | None = None) -> Student | None:
    """The student of the family that agrees best with answers it wasn't shown, taught with all.

    Args:
        lesson: what was asked and answered.
        rng: draws folds and starts.
        natural: which inputs are the deployment's own, and mustn't suffer, (n,); None for all.

    Returns:
        None where nothing was answered.
    """
    if not len(lesson.rows):
        return None
    scale = Scale.of(lesson.inputs)
    scaled = Lesson(scale.scaled(lesson.inputs), lesson.rows)
    family = chosen(scaled, rng, natural)
    return Student(family, scale, fitted(family, scaled, Effort(), rng))


def fitted(family: str, lesson: Lesson, effort: Effort, rng: Generator) -> Answering:
    """A student of a family; where only one label was ever seen, it is all that is known."""
    if lesson.is_hard and len(np.unique(lesson.labels)) == 1:
        row = lesson.rows[:1]
        return lambda inputs: np.repeat(row, len(inputs), axis=0)
    return {**FAMILIES, **DEEP}[family](lesson, effort, rng)


def chosen(lesson: Lesson, rng: Generator, natural: NDArray[np.bool_] | None = None) -> str:
    """The family that comes nearest to held-out answers; another than the first must be better beyond chance.

    Args:
        lesson: with scaled inputs.
        rng: draws folds and starts.
        natural: which inputs are the deployment's own, and mustn't suffer, (n,); None for all.
    """
    first, *others = [*FAMILIES, *(list(DEEP) if fits(lesson.inputs) else [])]
    folds = _folds(len(lesson.rows), rng)
    if not folds:
        return first
    judged = np.concatenate([part for _, part in folds])
    own = np.ones(len(judged), np.bool_) if natural is None or not natural[judged].any() else natural[judged]
    best, scores = first, nearness(first, lesson, folds, rng)
    for family in others:
        if scores.mean() >= GOOD_ENOUGH:
            break
        found = nearness(family, lesson, folds, rng)
        if _is_better(found - scores, own):
            best, scores = family, found
    return best


def _is_better(gains: NDArray[np.float64], own: NDArray[np.bool_]) -> bool:
    """Whether labels gain beyond chance, or probabilities clearly do where labels don't lose."""
    mean, error = gains.mean(axis=0), gains.std(axis=0) / np.sqrt(len(gains))
    is_surer = mean[0] > error[0] or (mean[0] >= 0.0 and mean[1] > 2.0 * error[1])
    return bool(is_surer and gains[own, 0].mean() >= 0.0)


Fold = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Places to learn from, and places to be judged on."""


def nearness(family: str, lesson: Lesson, folds: list[Fold], rng: Generator) -> NDArray[np.float64]:
    """How well a family's students predict answers that they weren't shown, 0 to 1: (judged, 2).

    First whether the label is the same, then the probability that both agree on, where answers have any.
    """
    effort = Effort(STEPS_JUDGED, TREES_JUDGED)
    scores = []
    for learnt, judged in folds:
        rows = fitted(family, lesson.take(learnt), effort, rng)(lesson.inputs[judged])
        same = top_labels(rows) == lesson.labels[judged]
        both = same if lesson.is_hard else np.minimum(rows, lesson.rows[judged]).sum(axis=1)
        scores.append(np.column_stack([same, both]).astype(np.float64))
    return np.concatenate(scores)


def agreements(lesson: Lesson, judged: Lesson, rng: Generator) -> dict[str, float]:
    """The share of answers whose label a student predicts, for a kernel and for a forest.

    Args:
        lesson: what it learns from.
        judged: what it is asked.
        rng: draws starts.
    """
    scale = Scale.of(lesson.inputs)
    both = joined(lesson, judged)
    scaled = Lesson(scale.scaled(both.inputs), both.rows)
    learnt, asked = np.split(np.arange(len(both.rows)), [len(lesson.rows)])
    return {family: float(nearness(family, scaled, [(learnt, asked)], rng)[:, 0].mean())
            for family in ("kernel", "forest")}


def agreement_of_others(lesson: Lesson, judged: Lesson, rng: Generator) -> float:
    """The share of answers whose label a student predicts, the better of a kernel and a forest."""
    return max(agreements(lesson, judged, rng).values())


def joined(*lessons: Lesson) -> Lesson:
    """One lesson after the other."""
    return Lesson(*(np.concatenate(parts) for parts in zip(*lessons, strict=True)))


def _folds(n: int, rng: Generator) -> list[Fold]:
    if n < FEW:
        return []
    order = rng.permutation(n)[:MOST_JUDGED]
    parts = np.array_split(order, FOLDS)[:FOLDS if n < MANY else 1]
    return [(order[~np.isin(order, part)], part) for part in parts]

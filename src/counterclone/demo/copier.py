"""A naive copier: students fitted on the answers. The audit has the published attacks."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from counterclone.answers import Rows, top_labels
from counterclone.fidelity import Labels, agreement
from counterclone.queries import Features
from counterclone.randomness import generator

N_SEEDS = 3
SMALLEST = 1e-4
HIDDEN_UNITS = 64
RIDGE = 0.1

Students = Callable[[Features, Rows, int, Features], tuple[Labels, Labels]]
"""What was asked (queries, features), what came back (queries, classes), a seed, and unseen inputs (n, features);
to the labels of the unseen from a student of the probabilities and from one of the labels alone, as a copier
would try whom the probabilities mislead: (n,) each."""


class Copy(msgspec.Struct, frozen=True):
    """A copier's best student at one budget.

    Attributes:
        queries: rows asked.
        fidelity: agreement with the model on unseen inputs, the mean over the copier's seeds.
        fidelity_low: the least of the seeds.
        fidelity_high: the largest.
    """

    queries: int
    fidelity: float
    fidelity_low: float
    fidelity_high: float


class Task(NamedTuple):
    """What a copier has, and what its copy is told by.

    Attributes:
        asked: inputs that it may ask, (pool, features).
        answers: the model's, (pool, classes).
        unseen: other inputs, (n, features).
        labels: the model's own of these, (n,).
    """

    asked: Features
    answers: Rows
    unseen: Features
    labels: Labels


def copies(students: Students, task: Task, budgets: Sequence[int]) -> tuple[Copy, ...]:
    """The better student's fidelity at each budget of queries, over `N_SEEDS` draws of what is asked."""
    return tuple(_copy(students, task, budget) for budget in budgets)


def _copy(students: Students, task: Task, budget: int) -> Copy:
    by_student: list[list[float]] = [[], []]
    for seed in range(N_SEEDS):
        drawn = generator(seed, "copier", budget).choice(len(task.answers), budget, replace=False)
        predictions = students(task.asked[drawn], task.answers[drawn], seed, task.unseen)
        for fidelities, predicted in zip(by_student, predictions, strict=True):
            fidelities.append(agreement(predicted, task.labels).value)
    best = max(by_student, key=statistics.fmean)
    return Copy(budget, statistics.fmean(best), min(best), max(best))


def networks(asked: Features, answers: Rows, seed: int, unseen: Features) -> tuple[Labels, Labels]:
    """Small networks, of the centred log-probabilities and of the labels."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    options = {"hidden_layer_sizes": (HIDDEN_UNITS,), "random_state": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        soft = MLPRegressor(learning_rate_init=2e-3, max_iter=1500, **options).fit(asked, _centred_logs(answers))
        hard = MLPClassifier(max_iter=600, **options).fit(asked, top_labels(answers))
    return top_labels(np.asarray(soft.predict(unseen))), np.asarray(hard.predict(unseen), dtype=np.intp)


def ridges(asked: Features, answers: Rows, seed: int, unseen: Features) -> tuple[Labels, Labels]:
    """Ridge regressions, which many classes are no burden for, of the log-probabilities and of the labels."""
    from sklearn.linear_model import Ridge

    labels = np.eye(answers.shape[1])[top_labels(answers)]
    soft, hard = (Ridge(RIDGE).fit(asked, each).predict(unseen) for each in (_centred_logs(answers), labels))
    return top_labels(soft), top_labels(hard)


def _centred_logs(answers: Rows) -> Rows:
    logs = np.log(np.maximum(answers, SMALLEST))
    centred: Rows = logs - logs.mean(axis=1, keepdims=True)
    return centred

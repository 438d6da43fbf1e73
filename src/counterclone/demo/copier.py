"""A naive copier: a student fitted on the answers. The audit has the published attacks."""

from __future__ import annotations

import warnings

import numpy as np

from counterclone.answers import Rows, top_labels
from counterclone.demo.digits import N_CLASSES
from counterclone.fidelity import Labels
from counterclone.queries import Features

SMALLEST = 1e-4
HIDDEN_UNITS = 64


def copy(pixels: Features, answers: Rows, seed: int, unseen: Features) -> tuple[Labels, Labels]:
    """Train two students on a model's answers and label unseen inputs with each.

    One fits the centred log-probabilities; one drops them and fits the labels, as a copier would whom the
    probabilities mislead.

    Args:
        pixels: what was asked, (queries, 64).
        answers: what came back, (queries, classes).
        seed: of the students' first weights.
        unseen: inputs to label, (n, 64).

    Returns:
        The labels of the student of probabilities and of the student of labels, (n,) each.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    logs = np.log(np.maximum(answers, SMALLEST))
    options = {"hidden_layer_sizes": (HIDDEN_UNITS,), "random_state": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        soft = MLPRegressor(learning_rate_init=2e-3, max_iter=1500, **options)
        soft.fit(pixels, logs - logs.mean(axis=1, keepdims=True))
        hard = MLPClassifier(max_iter=600, **options).fit(pixels, top_labels(answers))
    predicted = np.asarray(soft.predict(unseen)).reshape(-1, N_CLASSES)
    return top_labels(predicted), np.asarray(hard.predict(unseen), dtype=np.intp)

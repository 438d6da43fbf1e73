"""Linear models and what they answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit, logsumexp

from counterclone.answers import Rows
from counterclone.attacks._box import Box
from counterclone.queries import Features, Inputs

Parameters = NDArray[np.float64]
"""Weights, and intercepts in the last column: (classes, features + 1)."""


class Linear:
    """A softmax regression, or one logistic regression a class.

    Args:
        parameters: weights and intercepts, (classes, features + 1).
        one_vs_rest: whether each class has a sigmoid of its own and the row is divided by their sum.
        is_verified: whether it was found exact on queries that it wasn't fitted to.
    """

    def __init__(self, parameters: Parameters, *, one_vs_rest: bool = False, is_verified: bool = False) -> None:
        self.parameters = parameters
        self.one_vs_rest = one_vs_rest
        self.is_verified = is_verified

    def answer(self, inputs: Inputs) -> Rows:
        """Probabilities: (queries, classes)."""
        logits = with_ones(np.asarray(inputs, dtype=np.float64)) @ self.parameters.T
        return np.exp(log_rows(logits, one_vs_rest=self.one_vs_rest))


class LinearLabels:
    """The boundaries of a linear model, which labels tell, without the size of its parameters, which they don't.

    Args:
        boundaries: weights and intercepts up to a factor, (classes, features + 1).
        is_verified: whether boundary points that it wasn't fitted to lie on its boundaries.
    """

    def __init__(self, boundaries: Parameters, *, is_verified: bool = False) -> None:
        self.boundaries = boundaries
        self.is_verified = is_verified

    def answer(self, inputs: Inputs) -> Rows:
        """One-hot rows: (queries, classes)."""
        scores = with_ones(np.asarray(inputs, dtype=np.float64)) @ self.boundaries.T
        rows: Rows = np.eye(len(self.boundaries))[scores.argmax(axis=1)]
        return rows


def uncoordinated(parameters: Parameters, box: Box) -> Parameters:
    """The parameters for inputs, of parameters for their coordinates in a box."""
    weights = parameters[:, :-1] / np.where(box.half > 0.0, box.half, np.inf)
    return np.column_stack([weights, parameters[:, -1] - weights @ box.centre])


def with_ones(features: Features) -> Features:
    """Features with a last column of ones, which intercepts multiply: (n, features + 1)."""
    return np.hstack([features, np.ones((len(features), 1))])


def log_rows(logits: NDArray[np.float64], *, one_vs_rest: bool = False) -> NDArray[np.float64]:
    """The logarithms of the probabilities of logits: (n, classes)."""
    logs = log_expit(logits) if one_vs_rest else logits
    normalised: NDArray[np.float64] = logs - logsumexp(logs, axis=1, keepdims=True)
    return normalised

"""Gaussian process regression in closed form: the student that learns most from few answers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist
from scipy.special import softmax

from counterclone.answers import Rows
from counterclone.queries import Features
from counterclone.randomness import Generator

Array = NDArray[np.float64]

PRECISIONS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the kernel, in the inverse of the mean squared distance of two inputs, halved."""
NOISES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Variances of the answers' noise, where the function has 1."""
JUDGED = 300
"""Inputs that precision and noise are chosen on."""
LEAST = 1e-12
MOST = 2000
"""Inputs that are learnt from, since the time grows with the cube."""


class Kernel:
    """A weighted sum of bumps at the inputs that were learnt from.

    Args:
        inputs: as above, (n, features).
        scale: of the kernel, a squared length.
        weights: of each bump, (n, classes).
        mean: far from all of them, (classes,).
    """

    def __init__(self, inputs: Features, scale: float, weights: Array, mean: Array) -> None:
        self._inputs = inputs
        self._scale = scale
        self._weights = weights
        self._mean = mean

    def answer(self, inputs: Features) -> Rows:
        """Probabilities: (queries, classes)."""
        bumps = np.exp(-cdist(inputs, self._inputs, "sqeuclidean") / self._scale)
        rows: Rows = softmax(bumps @ self._weights + self._mean, axis=1)
        return rows


def regressed(inputs: Features, logs: Array, rng: Generator) -> Kernel:
    """The posterior mean, with the kernel under which the answers are likeliest.

    Args:
        inputs: (n, features).
        logs: what to answer there, (n, classes).
        rng: draws those that are learnt from where there are many.
    """
    if len(inputs) > MOST:
        drawn = rng.permutation(len(inputs))[:MOST]
        inputs, logs = inputs[drawn], logs[drawn]
    judged = rng.permutation(len(inputs))[:JUDGED]
    scale, noise = _best(inputs[judged], logs[judged])
    mean = logs.mean(axis=0)
    kernel = np.exp(-cdist(inputs, inputs, "sqeuclidean") / scale)
    kernel[np.diag_indices_from(kernel)] += noise
    return Kernel(inputs, scale, cho_solve(cho_factor(kernel), logs - mean), mean)


def _best(inputs: Features, logs: Array) -> tuple[float, float]:
    """The likeliest scale and noise (Rasmussen and Williams 2006, section 5.4.1).

    Leaving each answer out once would trust near-duplicates, which predict each other whatever the scale is.
    """
    distances = cdist(inputs, inputs, "sqeuclidean")
    typical = distances.mean() / 2.0 or 1.0
    aims = logs - logs.mean(axis=0)
    best, found = -math.inf, (typical, NOISES[-1])
    for precision in PRECISIONS:
        values, vectors = np.linalg.eigh(np.exp(-distances * (precision / typical)))
        energies = (vectors.T @ aims)**2
        for noise in NOISES:
            variances = values.clip(0.0) + noise
            amplitude = float((energies / variances[:, None]).mean()) + LEAST
            likelihood = -len(aims) * math.log(amplitude) - float(np.log(variances).sum())
            if likelihood > best:
                best, found = likelihood, (typical / precision, noise)
    return found

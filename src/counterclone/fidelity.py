"""How near two models' answers are, and how honest a model's confidence is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from counterclone.answers import Rows, top_labels
from counterclone.statistics import Interval, proportion

LEAST = 1e-6
PENALTY = 1.0
Labels = NDArray[np.intp]
Vectors = NDArray[np.float64]


def agreement(labels: Labels, others: Labels) -> Interval:
    """The share of inputs on which two models serve the same label, (n,) and (n,), with its Wilson interval.

    Against a target's labels this is a surrogate's fidelity (Jagielski et al. 2020, section 3); against
    ground truth it is accuracy.

    Raises:
        ValueError: no inputs, or not as many of one as of the other.
    """
    if len(labels) != len(others):
        raise ValueError(f"labels of {len(labels)} and of {len(others)} inputs can't be compared")
    return proportion(int((labels == others).sum()), len(labels))


def balanced_agreement(labels: Labels, others: Labels) -> float:
    """The mean, over the labels of the first model, of the share on which the second agrees.

    Where 95 % of the answers are one class, a constant agrees on 95 % of them, and on 1 of K classes here.

    Args:
        labels: of the target, (n,).
        others: of the surrogate, (n,).

    Raises:
        ValueError: no inputs, or not as many of one as of the other.
    """
    if len(labels) != len(others) or not len(labels):
        raise ValueError(f"labels of {len(labels)} and of {len(others)} inputs have no balanced agreement")
    return float(np.mean([(others[labels == label] == label).mean() for label in np.unique(labels)]))


def divergence(rows: Rows, others: Rows) -> float:
    """The mean Kullback-Leibler divergence of the second model's answers from the first's, in nats.

    Args:
        rows: the target's probabilities, (n, classes).
        others: the surrogate's; what it holds for impossible counts as one in a million.
    """
    ours, theirs = np.maximum(rows, 1e-300), np.maximum(others, LEAST)
    return float((rows * (np.log(ours) - np.log(theirs))).sum(axis=1).mean())


def calibration_error(rows: Rows, truth: Labels, n_bins: int = 15) -> float:
    """Expected calibration error of the top probability (Guo et al. 2017, section 2).

    Args:
        rows: probabilities, (n, classes).
        truth: true labels, (n,).
        n_bins: bins of equal width over the confidence.

    Returns:
        The mean distance between confidence and accuracy, each bin by its share of the inputs.

    Raises:
        ValueError: no inputs, or not as many labels as rows.
    """
    if len(rows) != len(truth) or not len(rows):
        raise ValueError(f"{len(rows)} rows and {len(truth)} true labels have no calibration error")
    confidence = rows.max(axis=1)
    correct = top_labels(rows) == truth
    bins = np.minimum((confidence * n_bins).astype(np.intp), n_bins - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(rows))


def top_accuracy(rows: Rows, truth: Labels, k: int) -> float:
    """How often the true label is among the k likeliest; ties are broken by a fair draw, in expectation.

    Args:
        rows: probabilities, (n, classes).
        truth: true labels, (n,).
        k: labels that count.
    """
    own = rows[np.arange(len(rows)), truth][:, np.newaxis]
    n_above, n_equal = (rows > own).sum(axis=1), (rows == own).sum(axis=1)
    return float(np.clip((k - n_above) / n_equal, 0.0, 1.0).mean())


def ranking_area(rows: Rows, truth: Labels) -> float:
    """The area under the ROC curve of each class against all others, the mean of the classes that are there.

    By ranks, equal values sharing theirs (Hanley and McNeil 1982); 0.5 where only one class is there.

    Args:
        rows: probabilities, (n, classes).
        truth: true labels, (n,).
    """
    ranks = rankdata(rows, axis=0)
    counts = np.bincount(truth, minlength=rows.shape[1])
    there = np.flatnonzero((counts > 0) & (counts < len(truth)))
    if not len(there):
        return 0.5
    sums = np.array([ranks[truth == label, label].sum() for label in there])
    n = counts[there]
    return float(((sums - n * (n + 1) / 2) / (n * (len(truth) - n))).mean())


def overlap(vectors: Vectors, others: Vectors, k: int = 10) -> float:
    """The mean of `overlaps`."""
    return float(overlaps(vectors, others, k).mean())


def overlaps(vectors: Vectors, others: Vectors, k: int = 10) -> Vectors:
    """The share of each input's k nearest, by cosine, that two encoders have in common: (n,).

    Args:
        vectors: of the target, (n, dimensions).
        others: of the copy, (n, other dimensions).
        k: neighbours, fewer where there are fewer inputs.
    """
    k = max(min(k, len(vectors) // 2 - 1), 1)
    nearest = [_nearest(each, k) for each in (vectors, others)]
    return np.array([len(set(one) & set(other)) / k for one, other in zip(*nearest, strict=True)])


def _nearest(vectors: Vectors, k: int) -> list[list[int]]:
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
    scores = units @ units.T
    np.fill_diagonal(scores, -np.inf)
    found: list[list[int]] = np.argsort(-scores, axis=1, kind="stable")[:, :k].tolist()
    return found


def probe_accuracy(vectors: Vectors, truth: NDArray[Any]) -> float:
    """How often a linear classifier on an encoder's vectors is right, learnt on every other one.

    Args:
        vectors: (n, dimensions).
        truth: true labels, (n,).
    """
    names, labels = np.unique(truth, return_inverse=True)
    scaled = (vectors - vectors.mean(axis=0)) / (vectors.std(axis=0) + LEAST)
    inputs = np.column_stack([scaled, np.ones(len(vectors))])
    learnt, judged = inputs[::2], inputs[1::2]
    squares = learnt.T @ learnt + PENALTY * np.eye(inputs.shape[1])
    weights = np.linalg.solve(squares, learnt.T @ np.eye(len(names))[labels[::2]])
    return float(((judged @ weights).argmax(axis=1) == labels[1::2]).mean())

"""How near two models' answers are, and how honest a model's confidence is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Rows, top_labels
from counterclone.statistics import Interval, proportion

Labels = NDArray[np.intp]


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

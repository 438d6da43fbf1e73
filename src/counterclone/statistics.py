"""Intervals and tests: pure functions, scipy underneath."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats


class Interval(NamedTuple):
    """An estimate with its two-sided confidence interval."""

    value: float
    low: float
    high: float


def proportion(hits: int, trials: int, confidence: float = 0.95) -> Interval:
    """A share with its Wilson score interval (Wilson 1927).

    Raises:
        ValueError: no trials, or more hits than trials.
    """
    if trials <= 0 or not 0 <= hits <= trials:
        raise ValueError(f"a share needs 0 <= hits <= trials and trials > 0, got {hits} of {trials}")
    low, high = stats.binomtest(hits, trials).proportion_ci(confidence, method="wilson")
    return Interval(hits / trials, float(low), float(high))


def slope(x: NDArray[np.float64], y: NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """The least-squares slope of y (n,) over x (n,), with Student's t interval.

    Raises:
        ValueError: fewer than three points.
    """
    if len(x) < 3:
        raise ValueError(f"a slope with an interval needs 3 points, got {len(x)}")
    fit = stats.linregress(x, y)
    half = float(stats.t.ppf(0.5 + confidence / 2, len(x) - 2) * fit.stderr)
    return Interval(float(fit.slope), float(fit.slope) - half, float(fit.slope) + half)

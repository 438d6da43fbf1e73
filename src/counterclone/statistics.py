"""Intervals and tests: pure functions, scipy underneath."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats


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


def binomial_tail(hits: int, trials: int, rate: float) -> float:
    """P(Binomial(trials, rate) >= hits), exact.

    Raises:
        ValueError: more hits than trials, or a rate beyond 0 to 1.
    """
    if not 0 <= hits <= trials or not 0.0 <= rate <= 1.0:
        raise ValueError(f"a tail needs 0 <= hits <= trials and a rate in [0, 1], got {hits}, {trials} and {rate}")
    return float(stats.binom.sf(hits - 1, trials, rate))


def binomial_tails(hits: NDArray[np.int64], trials: NDArray[np.int64], rate: float) -> NDArray[np.float64]:
    """`binomial_tail` of each: (n,)."""
    return np.asarray(stats.binom.sf(hits - 1, trials, rate), dtype=np.float64)


def most_hits(trials: int, rate: float, level: float) -> int:
    """What Binomial(trials, rate) exceeds with a chance of `level` at the most."""
    return int(stats.binom.isf(level, trials, rate))


def hypergeometric_tail(hits: int, marked: int, controls: int, differing: int) -> float:
    """P(at least `hits` of `differing` rows are marked), where the draw made `marked` of all rows so; exact.

    Raises:
        ValueError: the numbers don't fit each other.
    """
    if not 0 <= hits <= min(marked, differing) or differing > marked + controls:
        raise ValueError(f"{hits} of {differing} differing rows can't be marked among {marked} marked rows and "
                         f"{controls} controls")
    if not hits:
        return 1.0  # of no rows at all, too, which scipy calls NaN
    return float(stats.hypergeom.sf(hits - 1, marked + controls, marked, differing))


def weighted_tail(total: float, weights: NDArray[np.float64], rate: float) -> float:
    """A bound on P(sum of weights x (B - rate) >= total), B independent and Bernoulli(rate), for any weights.

    Chernoff's (1952), the least of exp(K(s) - s total) over s > 0, where K is the sum of the logarithms of the
    terms' moment generating functions; times a bound on what is left under the tilted chances, where the sum is
    normal up to the inequality of Berry and Esseen (constant of Shevtsova 2010). With thousands of terms of like
    size it asks for 4.9 standard deviations at 1e-6, a normal tail for 4.8 and Chernoff's bound alone for 5.3.
    """
    spread = _weighted_spread(weights, rate)
    if total <= 0.0 or spread == 0.0:
        return 1.0
    distinct, counts = np.unique(weights, return_counts=True)
    steepest = total / spread**2

    def bound(log_s: float) -> float:
        s = steepest * math.exp(log_s)
        return float(counts @ _log_moments(s * distinct, rate)) - s * total

    found = optimize.minimize_scalar(bound, bounds=(-3.0, 6.0), method="bounded")  # every s is valid
    left = _left(steepest * math.exp(float(found.x)), distinct, counts, rate)
    return float(np.exp(min(float(found.fun), 0.0)) * left)


def _left(s: float, weights: NDArray[np.float64], counts: NDArray[np.int64], rate: float) -> float:
    """A bound on E exp(-s Y) over Y >= 0, where Y is the sum less the total, its bits tilted by exp(s weight).

    As an integral of s exp(-s y) P(0 <= Y <= y), it is at most that of a normal density, whatever its mean, and
    twice the distance from it.
    """
    odds = rate * np.exp(np.clip(s * weights, -LARGEST_LOG, LARGEST_LOG))
    hit: NDArray[np.float64] = odds / (odds + 1.0 - rate)
    spreads = hit * (1.0 - hit)
    variance = float(counts @ (weights**2 * spreads))
    cube = math.sqrt(variance) ** 3
    if cube == 0.0:
        return 1.0
    third = float(counts @ (np.abs(weights) ** 3 * spreads * (hit**2 + (1.0 - hit) ** 2)))
    return min(1.0, 1.0 / (math.sqrt(2.0 * math.pi * variance) * s) + 2.0 * SHEVTSOVA * third / cube)


SHEVTSOVA = 0.56
"""Of the inequality of Berry and Esseen for terms that aren't alike."""


def weighted_e_value(total: float, weights: NDArray[np.float64], rate: float) -> float:
    """The likelihood ratio of bits that lean to the large weights to independent ones: its mean is 1 for these.

    A mixture over the leanings exp(s weight) that give the sum a mean of 2, 4, 8, 16 and 32 standard deviations;
    they depend on the weights alone.
    """
    spread = _weighted_spread(weights, rate)
    if spread == 0.0:
        return 1.0
    logs = [leaning / spread * total - float(_log_moments(leaning / spread * weights, rate).sum())
            for leaning in LEANINGS]
    return float(np.exp(min(float(np.logaddexp.reduce(logs)) - np.log(len(LEANINGS)), LARGEST_LOG)))


LEANINGS = (2.0, 4.0, 8.0, 16.0, 32.0)


def _weighted_spread(weights: NDArray[np.float64], rate: float) -> float:
    return float(np.sqrt(rate * (1.0 - rate) * (weights @ weights)))


def _log_moments(weights: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """log E exp(weight x (B - rate)) of each: (n,)."""
    logs: NDArray[np.float64] = np.logaddexp(np.log1p(-rate), np.log(rate) + weights) - rate * weights
    return logs


GRID = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.98)
"""Rates of hits that the mixture averages over: what marked students of all kinds were seen to have."""


def fisher(p_values: Sequence[float]) -> float:
    """One p-value of several that are independent (Fisher 1925); valid too where they are larger than uniform."""
    total = -sum(math.log(p) if p > 0.0 else -math.inf for p in p_values)
    return float(special.gammaincc(len(p_values), total)) if p_values else 1.0


def e_value(hits: int, trials: int, null_rate: float) -> float:
    """The mixture e-value after `trials`: the likelihood ratio of a marked student to an independent suspect.

    Each trial multiplies q / null_rate on a match and (1 - q) / (1 - null_rate) on a miss, averaged over the rates
    q of `GRID` above the null rate. For an independent suspect it is a martingale with mean 1, so it reaches
    1/alpha at any time with a chance of alpha at the most (Ville 1939).

    Raises:
        ValueError: a null rate that isn't between 0 and 1.
    """
    counts = np.array([hits], dtype=np.int64), np.array([trials - hits], dtype=np.int64)
    return float(np.exp(min(_mixture(*counts, null_rate, _grid(null_rate))[0], LARGEST_LOG)))


def e_values(hits: NDArray[np.int64], trials: NDArray[np.int64], null_rate: float) -> NDArray[np.float64]:
    """`e_value` of each: (n,)."""
    logs = _mixture(hits, trials - hits, null_rate, _grid(null_rate))
    values: NDArray[np.float64] = np.exp(np.minimum(logs, LARGEST_LOG))
    return values


LARGEST_LOG = 690.0
"""Beyond it a 64-bit float overflows; a smaller e-value is valid, too."""


def _grid(null_rate: float) -> NDArray[np.float64]:
    if not 0.0 < null_rate < 1.0:
        raise ValueError(f"an e-value needs a null rate between 0 and 1, got {null_rate}")
    above = [q for q in GRID if q > null_rate]
    return np.array(above or [(1.0 + null_rate) / 2])


def _mixture(hits: NDArray[np.int64], misses: NDArray[np.int64], null_rate: float,
             grid: NDArray[np.float64]) -> NDArray[np.float64]:
    logs = (np.multiply.outer(hits, np.log(grid / null_rate))
            + np.multiply.outer(misses, np.log((1.0 - grid) / (1.0 - null_rate))))
    mixed: NDArray[np.float64] = np.logaddexp.reduce(logs, axis=-1) - np.log(len(grid))
    return mixed


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Holm's adjusted p-values, valid however the tests depend on each other (Holm 1979): (n,)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


def rank_p_value(value: float, others: NDArray[np.float64]) -> float:
    """The rank of a value among exchangeable others, never below 1/(n + 1)."""
    return float((1 + np.count_nonzero(others >= value)) / (1 + len(others)))


def power(trials: int, hit_rate: float, null_rate: float, alpha: float) -> float:
    """The chance that the binomial test reaches `alpha`, of a student that meets marks with `hit_rate`."""
    if trials == 0:
        return 0.0
    tails = stats.binom.sf(np.arange(trials + 1) - 1, trials, null_rate)
    reaching = np.flatnonzero(tails <= alpha)
    return float(stats.binom.sf(reaching[0] - 1, trials, hit_rate)) if len(reaching) else 0.0

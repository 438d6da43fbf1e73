"""Summaries whose figures depend on the number of queries in no simple way, compared at equal numbers.

The share of repeats or of new places isn't a mean of what each exchange adds, so its mean and its spread among
honest accounts are measured at many numbers of queries, on the starts of the reference's accounts, instead of
being computed. Accounts differ from each other at any number, and that is in the spread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.protocols import States

FEWEST_QUERIES = 5
FEWEST_ACCOUNTS = 30
FARTHEST = 6.0
"""Profiles end here: one odd account is no direction that others could be grouped by."""

_GROWTH = 2.0**0.5
_TAIL, _FEWEST_IN_TAIL = 0.05, 10
_SHORTEST_TAIL = 0.1
_KNOTS_OF_TREND = 5
_GRAIN = 0.5  # what many accounts have alike, as to repeat nothing, would tell their exact number of queries
_TIE = 1e-6  # many short accounts are alike but for a product's last digit, which depends on the batch
_SMALLEST_SPREAD = 0.03  # figures are logarithms and roots of shares: less is no difference to speak of


class Summary(Protocol):
    """What is kept of an account and which figures it shows; the first column counts exchanges."""

    def empty(self, n: int) -> States:
        """As a tracker's."""
        ...

    def learn(self, states: States, exchanges: Exchanges) -> None:
        """As a tracker's."""
        ...

    def merge(self, states: States, others: States) -> States:
        """As a tracker's."""
        ...

    def figures(self, states: States) -> NDArray[np.float64]:
        """What is compared, on scales of about 1, NaN where there is none: (n, figures)."""
        ...


@dataclass(frozen=True)
class Knot:
    """Honest accounts after one number of queries.

    Attributes:
        centre: their mean figures, (d,).
        whitening: makes figures' deviations uncorrelated, of variance 1: (d, d), symmetric.
        distances: logarithms of accounts' distances from the centre, ascending: (k,).
    """

    centre: NDArray[np.float64]
    whitening: NDArray[np.float64]
    distances: NDArray[np.float64]

    @classmethod
    def of(cls, figures: NDArray[np.float64]) -> Knot:
        """Measured on accounts' figures, (n, d)."""
        is_known = ~np.isnan(figures)
        centre = np.where(is_known, figures, 0.0).sum(axis=0) / np.maximum(is_known.sum(axis=0), 1)
        deviations = np.where(is_known, figures - centre, 0.0)
        n, d = figures.shape
        covariance = deviations.T @ deviations / n
        variances = np.diag(covariance)
        shrinkage = d / (d + n)
        covariance = covariance * (1.0 - shrinkage) + np.diag(variances * shrinkage + _SMALLEST_SPREAD**2)
        values, axes = np.linalg.eigh(covariance)
        whitening = axes / np.sqrt(values) @ axes.T
        return cls(centre, whitening, np.sort(_distances(deviations @ whitening)))

    @property
    def tail(self) -> float:
        """By how much the logarithm of a distance grows where e times fewer accounts get so far."""
        top = self.distances[-max(int(_TAIL * len(self.distances)), _FEWEST_IN_TAIL):]
        return float((top - top[0]).mean())

    def whitened(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Figures (n, d) as deviations; one that isn't known deviates by nothing."""
        return np.nan_to_num(figures - self.centre, nan=0.0) @ self.whitening

    def surprise(self, distances: NDArray[np.float64], tail: float) -> NDArray[np.float64]:
        """-ln of the share of honest accounts as far out, beyond the farthest one by a tail: (n,)."""
        n = len(self.distances)
        n_nearer = np.searchsorted(self.distances, distances - _TIE)
        beyond = np.maximum(distances - self.distances[-1], 0.0) / tail
        surprise: NDArray[np.float64] = np.log(n + 1.0) - np.log(n - n_nearer + 1.0) + beyond
        return surprise


@dataclass(frozen=True)
class MeasuredTracker:
    """A tracker by a summary's figures.

    Attributes:
        summary: what is kept.
        numbers: of queries at which honest accounts were measured, ascending: (m,).
        knots: what they were like, (m,).
        tail: the knots' mean tail.
    """

    summary: Summary
    numbers: NDArray[np.float64]
    knots: tuple[Knot, ...]
    tail: float

    @classmethod
    def fit(cls, summary: Summary, reference: Exchanges) -> MeasuredTracker:
        """Measure honest accounts.

        Raises:
            WatchError: fewer than 30 of them have 5 queries.
        """
        numbers, knots = [], []
        for number, states in _starts(summary, reference):
            numbers.append(number)
            knots.append(Knot.of(summary.figures(states)))
        if not knots:
            raise WatchError(f"the reference has fewer than {FEWEST_ACCOUNTS} accounts with {FEWEST_QUERIES} "
                             "queries each; give it more honest traffic")
        tail = np.average([knot.tail for knot in knots], weights=[len(knot.distances) for knot in knots])
        return cls(summary, np.array(numbers), tuple(knots), max(float(tail), _SHORTEST_TAIL))

    def empty(self, n: int) -> States:
        """Summaries of accounts that did nothing: (n, width)."""
        return self.summary.empty(n)

    def learn(self, states: States, exchanges: Exchanges) -> None:
        """Add exchanges, in place."""
        self.summary.learn(states, exchanges)

    def merge(self, states: States, others: States) -> States:
        """The summaries of both: (n, width)."""
        return self.summary.merge(states, others)

    def score(self, states: States) -> NDArray[np.float64]:
        """-ln of the share of honest accounts as far out after as many queries; NaN under 5 of them: (n,)."""
        figures, counts = self.summary.figures(states), states[:, 0]
        distances = _distances(self._deviations(figures, counts))
        score = np.zeros(len(states))
        for knot, rows, weights in self._near(counts):
            score[rows] += weights * knot.surprise(distances[rows], self.tail)
        score[(counts < FEWEST_QUERIES) | np.isnan(figures).all(axis=1)] = np.nan
        return score

    def profile(self, states: States) -> NDArray[np.float64]:
        """Figures as deviations from honest accounts with as many queries, 0 under 5 of them: (n, d)."""
        profile = self._deviations(self.summary.figures(states), states[:, 0])
        profile[states[:, 0] < FEWEST_QUERIES] = 0.0
        return (np.rint(profile / _GRAIN) * _GRAIN).clip(-FARTHEST, FARTHEST)

    def _deviations(self, figures: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Deviations from honest accounts with as many queries, (n, d).

        Beyond the last knot the honest accounts' trend goes on, and what deviates from it counts less and less:
        nobody honest was seen there.
        """
        beyond = np.maximum(np.log(np.maximum(counts, 1) / self.numbers[-1]), 0.0)[:, np.newaxis]
        figures = figures - beyond * self.trend
        deviations = np.zeros(figures.shape)
        for knot, rows, weights in self._near(counts):
            deviations[rows] += weights[:, np.newaxis] * knot.whitened(figures[rows])
        faded: NDArray[np.float64] = deviations / (1.0 + beyond)
        return faded

    def _near(self, counts: NDArray[np.int64]) -> Iterator[tuple[Knot, NDArray[np.intp], NDArray[np.float64]]]:
        """Each knot with the rows between its neighbours, and its weight for them by the number's logarithm."""
        places = np.interp(np.log(np.maximum(counts, 1)), np.log(self.numbers), np.arange(len(self.numbers)))
        for place, knot in enumerate(self.knots):
            weights = 1.0 - np.abs(places - place)
            rows = np.flatnonzero(weights > 0.0)
            yield knot, rows, weights[rows]

    @property
    def trend(self) -> NDArray[np.float64]:
        """What is added to the centre when the number grows by e, over the last few knots: (d,)."""
        first = max(len(self.knots) - _KNOTS_OF_TREND, 0)
        span = np.log(self.numbers[-1] / self.numbers[first]) or 1.0
        trend: NDArray[np.float64] = (self.knots[-1].centre - self.knots[first].centre) / span
        return trend


def _distances(deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of lengths, (n, d) to (n,)."""
    distances: NDArray[np.float64] = 0.5 * np.log((deviations**2).sum(axis=1) + 1e-9)
    return distances


def _starts(summary: Summary, reference: Exchanges) -> Iterator[tuple[float, States]]:
    """Accounts after their first 5, 7, 10, 14, ... queries, of those who have so many."""
    ranks = reference.ranks()
    order = np.argsort(ranks, kind="stable")
    sorted_ranks = ranks[order]
    totals = np.bincount(reference.accounts, minlength=reference.n_accounts)
    states = summary.empty(reference.n_accounts)
    number, done = float(FEWEST_QUERIES), 0
    while True:
        rounded = round(number)
        reach = np.flatnonzero(totals >= rounded)
        if len(reach) < FEWEST_ACCOUNTS:
            return
        until = int(np.searchsorted(sorted_ranks, rounded))
        summary.learn(states, reference.select(order[done:until]))
        yield float(rounded), states[reach]
        number, done = number * _GROWTH, until

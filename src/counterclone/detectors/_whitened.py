"""Summaries that add up, compared in coordinates in which honest accounts are alike.

An account is the mean of what its exchanges measure. Honest accounts differ by their tastes (a covariance B
between accounts) and by chance (W over the number of exchanges). Both are fitted on halves of the reference's
accounts: what halves have in common is taste, what they differ in is chance. In the basis that makes W one and
B diagonal, an honest account of n exchanges has variance b + 1/n along each coordinate, whatever n is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.protocols import States

LEAST_EXCHANGES = 5
"""An account with fewer has no score."""
LEAST_ACCOUNTS = 20
"""A reference with fewer accounts that have both halves tells nothing about taste."""

_RIDGE = 0.01  # of the mean variance: what nobody honest does yet isn't infinitely far away
_NEGLIGIBLE = 1e-7  # of the largest variance: coordinates that follow from others
_CHUNK = 16384


class Measure(Protocol):
    """What an exchange adds to its account's summary.

    Laws: whole numbers; each exchange's are the same whatever else is in the batch.
    """

    @property
    def size(self) -> int:
        """How many numbers."""
        ...

    @property
    def unit(self) -> float:
        """What 1 in a summary stands for."""
        ...

    def add(self, states: States, exchanges: Exchanges) -> None:
        """Add to `states`, (accounts, 1 + size): first how many exchanges could be measured, then the sums."""
        ...


class Spread(NamedTuple):
    """How honest accounts differ, fitted on a reference.

    Attributes:
        centre: the mean account, (size,).
        basis: from means to coordinates, (size, coordinates).
        between: the variance of taste along each, where the variance of one exchange is 1, (coordinates,).
    """

    centre: NDArray[np.float64]
    basis: NDArray[np.float64]
    between: NDArray[np.float64]


@dataclass(frozen=True)
class Whitened:
    """A tracker of sums: an account's distance from the mean one, each coordinate in honest accounts' own unit.

    Attributes:
        measure: what is summed.
        spread: how honest accounts differ in it.
    """

    measure: Measure
    spread: Spread

    def empty(self, n: int) -> States:
        """Summaries of `n` accounts that did nothing: (n, 1 + size)."""
        return np.zeros((n, 1 + self.measure.size), dtype=np.int64)

    def learn(self, states: States, exchanges: Exchanges) -> None:
        """Add exchanges to the rows that their accounts' numbers name, in place."""
        self.measure.add(states, exchanges)

    def merge(self, states: States, others: States) -> States:
        """The sums of both: (n, 1 + size)."""
        merged: States = states + others
        return merged

    def score(self, states: States) -> NDArray[np.float64]:
        """The mean square of the coordinates, about 1 for honest accounts; NaN under 5 exchanges: (n,)."""
        scores = np.full(len(states), np.nan)
        enough = np.flatnonzero(states[:, 0] >= LEAST_EXCHANGES)
        for rows in np.split(enough, range(_CHUNK, len(enough), _CHUNK)):
            scores[rows] = (self.profile(states[rows])**2).mean(axis=1)
        return scores

    def profile(self, states: States) -> NDArray[np.float64]:
        """The coordinates over honest accounts' standard deviation, 0 without exchanges: (n, coordinates)."""
        counts = states[:, :1].astype(np.float64)
        means = states[:, 1:] * (self.measure.unit / np.maximum(counts, 1.0))
        coordinates = (means - self.spread.centre) @ self.spread.basis
        return coordinates * np.sqrt(counts / (self.spread.between * counts + 1.0))


def fit(measure: Measure, reference: Exchanges) -> Whitened:
    """The tracker that a reference of honest accounts gives.

    Raises:
        WatchError: too few accounts have exchanges that can be measured.
    """
    halves = []
    for parity in (0, 1):  # by digest, so that a query and its repeats are in one half
        part = reference.select(reference.digests % np.uint64(2) == parity)
        halves.append(np.zeros((reference.n_accounts, 1 + measure.size), dtype=np.int64))
        measure.add(halves[-1], part)
    used = np.flatnonzero((halves[0][:, 0] > 0) & (halves[1][:, 0] > 0))
    if len(used) < LEAST_ACCOUNTS:
        raise WatchError(f"the reference has {len(used)} honest accounts with several queries to compare, "
                         f"expected {LEAST_ACCOUNTS} or more; give it more of your users' traffic")
    counts = [half[used, :1].astype(np.float64) for half in halves]
    means = [half[used, 1:] * (measure.unit / count) for half, count in zip(halves, counts, strict=True)]
    return Whitened(measure, _spread(means[0], means[1], 1.0 / counts[0] + 1.0 / counts[1]))


def _spread(odd: NDArray[np.float64], even: NDArray[np.float64], chance: NDArray[np.float64]) -> Spread:
    """From accounts' halves, (accounts, size); their difference has one exchange's variance times `chance`."""
    weights = 1.0 / (chance + chance.mean())  # long accounts tell more, but none is all
    weights /= weights.sum()
    centre = (weights * (odd + even)).sum(axis=0) / 2.0
    within = _product(odd - even, odd - even, 1.0 / (chance * len(chance)))
    between = _product(odd - centre, even - centre, weights)
    variances, directions = np.linalg.eigh(within)
    kept = variances > _NEGLIGIBLE * variances[-1]
    ridge = _RIDGE * variances[kept].mean()
    to_one = directions[:, kept] / np.sqrt(variances[kept] + ridge)
    tastes, rotation = np.linalg.eigh(to_one.T @ between @ to_one)
    tastes = np.maximum(tastes, 0.0)
    return Spread(centre, to_one @ rotation, tastes + _RIDGE * tastes.mean())


def _product(left: NDArray[np.float64], right: NDArray[np.float64], weights: NDArray[np.float64],
             ) -> NDArray[np.float64]:
    """The weighted, symmetric sum of outer products: (size, size)."""
    product = left.T @ (weights * right)
    symmetric: NDArray[np.float64] = (product + product.T) / 2.0
    return symmetric


def add_rows(states: States, accounts: NDArray[np.intp], rows: NDArray[np.int32]) -> None:
    """Add each row, (n, size), and 1 for it, to its account's summary; rows are below 2**15 in size."""
    for start in range(0, len(accounts), _CHUNK):  # so many add up in 32 bits
        part = accounts[start:start + _CHUNK]
        order = np.argsort(part, kind="stable")
        sorted_accounts = part[order]
        starts = np.flatnonzero(np.diff(sorted_accounts, prepend=-1))
        if not len(starts):
            continue
        present = sorted_accounts[starts]
        states[present, 1:] += np.add.reduceat(rows[start:start + _CHUNK][order], starts, axis=0)
        states[present, 0] += np.diff(starts, append=len(part))


def add_bins(states: States, accounts: NDArray[np.intp], bins: NDArray[np.intp]) -> None:
    """Count each exchange in its bin of its account's histogram."""
    np.add.at(states, (accounts, 1 + bins), 1)
    np.add.at(states[:, 0], accounts, 1)

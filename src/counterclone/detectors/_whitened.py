"""Summaries that add up, compared in coordinates in which honest accounts are alike.

An account is the mean of what its exchanges measure. Honest accounts differ by their tastes (a covariance B
between accounts) and by chance (W over the number of exchanges). Both are fitted on halves of the reference's
accounts: what halves have in common is taste, what they differ in is chance. In the basis that makes W one and
B diagonal, an honest account of n different exchanges has variance b + 1/n along each coordinate, whatever n is.

A program that sends one query a thousand times tells as much about itself as one query does. With repeats the
1/n is the sum of the queries' squared shares, which signed counters estimate (Alon, Matias, Szegedy 1996;
Charikar, Chen, Farach-Colton 2002): each digest adds its sign to the counter that it hashes to, and the squares
of the counters sum to about the squares of the queries' counts. They are sums, as all else is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors._sample import mixed
from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.protocols import States

LEAST_EXCHANGES = 5
"""An account with fewer has no score."""
LEAST_ACCOUNTS = 20
"""A reference with fewer accounts that have both halves tells nothing about taste."""

COUNTERS = 32

_COUNTER_ERROR = 1.5  # the sum of their squares is hardly ever larger by so much than it should be
_RIDGE = 0.01  # of the mean variance: what nobody honest does yet isn't infinitely far away
_NEGLIGIBLE = 1e-7  # of the largest variance: coordinates that follow from others
_CHUNK = 16384
_SALT = np.uint64(0x77686974656E6564)


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

    def add(self, states: States, exchanges: Exchanges) -> NDArray[np.intp]:
        """Add each exchange that can be measured to its account's row of `states`, (accounts, size).

        Returns:
            The numbers of the exchanges that could be, (measured,).
        """
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
        """Summaries of `n` accounts that did nothing: (n, 33 + size)."""
        return _empty(self.measure, n)

    def learn(self, states: States, exchanges: Exchanges) -> None:
        """Add exchanges to the rows that their accounts' numbers name, in place."""
        _learn(self.measure, states, exchanges)

    def merge(self, states: States, others: States) -> States:
        """The sums of both: (n, 33 + size)."""
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
        coordinates = (_means(self.measure, states) - self.spread.centre) @ self.spread.basis
        coordinates[states[:, 0] == 0] = 0.0
        return coordinates / np.sqrt(self.spread.between + _chance(states))


def fit(measure: Measure, reference: Exchanges) -> Whitened:
    """The tracker that a reference of honest accounts gives.

    Raises:
        WatchError: too few accounts have exchanges that can be measured.
    """
    halves = []
    for parity in (0, 1):  # by digest, so that a query and its repeats are in one half
        part = reference.select(reference.digests % np.uint64(2) == parity)
        halves.append(_empty(measure, reference.n_accounts))
        _learn(measure, halves[-1], part)
    used = np.flatnonzero((halves[0][:, 0] > 0) & (halves[1][:, 0] > 0))
    if len(used) < LEAST_ACCOUNTS:
        raise WatchError(f"the reference has {len(used)} honest accounts with several queries to compare, "
                         f"expected {LEAST_ACCOUNTS} or more; give it more of your users' traffic")
    odd, even = (half[used] for half in halves)
    return Whitened(measure, _spread(_means(measure, odd), _means(measure, even), _chance(odd) + _chance(even)))


def _empty(measure: Measure, n: int) -> States:
    return np.zeros((n, 1 + COUNTERS + measure.size), dtype=np.int64)


def _learn(measure: Measure, states: States, exchanges: Exchanges) -> None:
    measured = measure.add(states[:, 1 + COUNTERS:], exchanges)
    accounts = exchanges.accounts[measured]
    hashes = mixed(exchanges.digests[measured], _SALT)
    signs = 1 - 2 * (hashes & np.uint64(1)).astype(np.int64)
    counters = 1 + (hashes >> np.uint64(32)).astype(np.intp) % COUNTERS
    np.add.at(states, (accounts, counters), signs)
    np.add.at(states[:, 0], accounts, 1)


def _means(measure: Measure, states: States) -> NDArray[np.float64]:
    means: NDArray[np.float64] = states[:, 1 + COUNTERS:] * (measure.unit / np.maximum(states[:, :1], 1))
    return means


def _chance(states: States) -> NDArray[np.float64]:
    """The variance of means where that of one exchange is 1: one over the number of different ones, (n, 1)."""
    counts = np.maximum(states[:, :1], 1).astype(np.float64)
    squares = (states[:, 1:1 + COUNTERS].astype(np.float64)**2).sum(axis=1, keepdims=True)
    chance: NDArray[np.float64] = (squares / _COUNTER_ERROR).clip(counts, counts**2) / counts**2
    return chance


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
    """Add each row, (n, size), to its account's of (accounts, size); numbers are below 2**15 in size."""
    for start in range(0, len(accounts), _CHUNK):  # so many add up in 32 bits
        part = accounts[start:start + _CHUNK]
        order = np.argsort(part, kind="stable")
        sorted_accounts = part[order]
        starts = np.flatnonzero(np.diff(sorted_accounts, prepend=-1))
        if not len(starts):
            continue
        states[sorted_accounts[starts]] += np.add.reduceat(rows[start:start + _CHUNK][order], starts, axis=0)


def add_bins(states: States, accounts: NDArray[np.intp], bins: NDArray[np.intp]) -> None:
    """Count each exchange in its bin of its account's histogram, (accounts, bins)."""
    np.add.at(states, (accounts, bins), 1)

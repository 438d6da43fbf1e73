"""How an account's inputs, answers and hours are spread, beside those of honest accounts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone.exchanges import NO_LABEL, Exchanges

Values = NDArray[np.float64]
"""One number for each account, NaN where it can't be told: (accounts,)."""

_FEWEST_QUERIES = 5
_FEWEST_ALIKE = 50
"""Honest accounts of about as many queries; where there are fewer, all of them are compared."""
_ALIKE = 2.0
_HOUR, _DAY = 3600.0, 86_400.0


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number, and how honest accounts of about as many queries have it.

    Attributes:
        name: what it is, unit included.
        value: the account's.
        low: nineteen of twenty honest accounts have more.
        median: the middle one's.
        high: nineteen of twenty have less.
    """

    name: str
    value: float
    low: float
    median: float
    high: float

    @property
    def is_outside(self) -> bool:
        """Whether it is beyond what nine of ten honest accounts have."""
        return not self.low <= self.value <= self.high


def compare(own: Exchanges, honest: Exchanges) -> list[Figure]:
    """An account's figures beside those of honest accounts.

    Args:
        own: its exchanges, number 0.
        honest: those of honest accounts.
    """
    middle = _Middle.of(honest)
    counts = np.bincount(honest.accounts, minlength=honest.n_accounts)
    is_enough = counts >= _FEWEST_QUERIES
    is_alike = is_enough & (counts <= _ALIKE * len(own)) & (counts >= len(own) / _ALIKE)
    chosen = is_alike if is_alike.sum() >= _FEWEST_ALIKE else is_enough
    found = []
    for name, measure in {**_MEASURES, "distance from the middle of honest inputs": middle.distances}.items():
        values = measure(honest)[chosen]
        values = values[np.isfinite(values)]
        value = float(measure(own)[0])
        if len(values) and np.isfinite(value):
            low, median, high = np.quantile(values, [0.05, 0.5, 0.95]).tolist()
            found.append(Figure(name=name, value=value, low=low, median=median, high=high))
    return found


def _per_day(exchanges: Exchanges) -> Values:
    return _counts(exchanges) / np.maximum(_distinct(exchanges, np.floor_divide(exchanges.times, _DAY)), 1.0)


def _different(exchanges: Exchanges) -> Values:
    return _distinct(exchanges, exchanges.digests) / _counts(exchanges)


def _top_label(exchanges: Exchanges) -> Values:
    known = exchanges.select(exchanges.labels != NO_LABEL)
    largest = np.full(exchanges.n_accounts, np.nan)
    if len(known):
        pairs, counts = np.unique(np.stack([known.accounts, known.labels], axis=1), axis=0, return_counts=True)
        top = np.zeros(exchanges.n_accounts)
        np.maximum.at(top, pairs[:, 0], counts)
        labelled = np.bincount(known.accounts, minlength=exchanges.n_accounts)
        np.divide(top, labelled, out=largest, where=labelled > 0)
    return largest


def _labels(exchanges: Exchanges) -> Values:
    found = _distinct(exchanges.select(exchanges.labels != NO_LABEL), None, exchanges.n_accounts)
    return np.where(found > 0, found, np.nan)


def _margin(exchanges: Exchanges) -> Values:
    return _medians(exchanges, exchanges.margins.astype(np.float64))


def _gap(exchanges: Exchanges) -> Values:
    return _medians(exchanges, exchanges.gaps.astype(np.float64))


def _hours(exchanges: Exchanges) -> Values:
    return _distinct(exchanges, np.floor_divide(exchanges.times % _DAY, _HOUR))


_MEASURES: dict[str, Callable[[Exchanges], Values]] = {
    "queries on a day with any": _per_day, "share of different queries": _different,
    "share of the most frequent answer": _top_label, "different answers": _labels,
    "median margin of the answers": _margin, "median seconds between queries": _gap,
    "different hours of the day (UTC)": _hours}


@dataclass(frozen=True)
class _Middle:
    """Where honest inputs lie, and how widely."""

    centre: Values
    width: Values

    @classmethod
    def of(cls, honest: Exchanges) -> _Middle:
        known = honest.vectors[np.isfinite(honest.vectors[:, 0])].astype(np.float64)
        if not len(known):
            return cls(np.zeros(honest.vectors.shape[1]), np.zeros(honest.vectors.shape[1]))
        return cls(known.mean(axis=0), known.std(axis=0))

    def distances(self, exchanges: Exchanges) -> Values:
        """The median over an account's queries of the root mean square over inputs, in honest deviations."""
        used = self.width > 0.0
        if not used.any():
            return np.full(exchanges.n_accounts, np.nan)
        steps = (exchanges.vectors[:, used] - self.centre[used]) / self.width[used]
        return _medians(exchanges, np.sqrt((steps**2).mean(axis=1)))


def _counts(exchanges: Exchanges) -> Values:
    return np.bincount(exchanges.accounts, minlength=exchanges.n_accounts).astype(np.float64)


def _distinct(exchanges: Exchanges, things: NDArray[np.generic] | None, n: int = 0) -> Values:
    """How many different things, or labels, each account has."""
    order = np.lexsort((exchanges.labels if things is None else things, exchanges.accounts))
    accounts = exchanges.accounts[order]
    sorted_things = (exchanges.labels if things is None else things)[order]
    is_new = np.ones(len(order), dtype=np.bool_)
    is_new[1:] = (accounts[1:] != accounts[:-1]) | (sorted_things[1:] != sorted_things[:-1])
    return np.bincount(accounts[is_new], minlength=n or exchanges.n_accounts).astype(np.float64)


def _medians(exchanges: Exchanges, values: Values) -> Values:
    """The median of each account's values that are numbers."""
    medians = np.full(exchanges.n_accounts, np.nan)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.lexsort((values[known], exchanges.accounts[known]))]
    accounts = exchanges.accounts[order]
    starts = np.flatnonzero(np.diff(accounts, prepend=-1))
    sizes = np.diff(starts, append=len(order))
    medians[accounts[starts]] = (values[order[starts + (sizes - 1) // 2]] + values[order[starts + sizes // 2]]) / 2
    return medians

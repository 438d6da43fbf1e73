"""The borders between the leaves of a tree, found by halving."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.attacks._evidence import Evidence, Search
from counterclone.queries import Features
from counterclone.randomness import Generator


class Border(NamedTuple):
    """Where the leaf changes.

    Attributes:
        feature: that changes it.
        low: its value just below.
        high: its value just above.
    """

    feature: int
    low: float
    high: float


class Borders:
    """Looks for borders, first where others were found.

    Args:
        evidence: what was asked.
        pool: inputs whose values tell where thresholds are likely, (n, features).
        close: how near to a border is near enough, (features,).
        rng: draws orders.
    """

    def __init__(self, evidence: Evidence, pool: Features, close: Features, rng: Generator) -> None:
        self._evidence = evidence
        self._close = close
        self._rng = rng
        self._likely = [_likely(values, step) for values, step in zip(pool.T, close, strict=True)]
        self._known: list[set[float]] = [set() for _ in close]

    def between(self, start: Features, end: Features) -> Search[Border]:
        """A border between two inputs in different leaves, (features,) each.

        The split of a tree that comes first on the way to both changes both leaves: a feature that changes the one
        is tried on the other, and a few are gone through before the first is taken after all.
        """
        order = self._rng.permutation(np.flatnonzero(start != end))
        leaf, other = (yield from self._evidence.leaf(start)), (yield from self._evidence.leaf(end))
        first: tuple[Features, int] | None = None
        while first is None or (yield from self._evidence.leaf(_turned(start, end, order))) != leaf:
            before, place = yield from self._turning(start, end, order, leaf)
            feature = int(order[place])
            first = first or (before, feature)
            if (yield from self._evidence.leaf(_turned(end, start, order[place:place + 1]))) != other:
                return (yield from self._border(before, feature, end[feature]))
            order = np.delete(order, place)
        return (yield from self._border(*first, end[first[1]]))

    def _turning(self, start: Features, end: Features, order: NDArray[np.intp],
                 leaf: int) -> Search[tuple[Features, int]]:
        """The last input in a leaf as features are turned in an order, and the place of the next feature."""
        low, high = 0, len(order)  # so many turned features don't change it, and so many do
        while high - low > 1:
            middle = (low + high) // 2
            is_same = (yield from self._evidence.leaf(_turned(start, end, order[:middle]))) == leaf
            low, high = (middle, high) if is_same else (low, middle)
        return _turned(start, end, order[:low]), low

    def _border(self, start: Features, feature: int, end: float) -> Search[Border]:
        """The border that an input crosses as one feature goes to a value."""
        inside, outside = float(start[feature]), float(end)
        for marks in (np.array(sorted(self._known[feature])), self._likely[feature]):
            between = marks[(marks > min(inside, outside)) & (marks < max(inside, outside))]
            ordered = between if inside < outside else between[::-1]
            inside, outside = yield from self._halved(start, feature, [inside, *ordered.tolist(), outside])
        while abs(outside - inside) > self._close[feature]:
            middle = (inside + outside) / 2.0
            if middle in (inside, outside):
                break
            inside, outside = yield from self._halved(start, feature, [inside, middle, outside])
        border = Border(feature, min(inside, outside), max(inside, outside))
        self._known[feature].update(border[1:])
        return border

    def _halved(self, start: Features, feature: int, places: list[float]) -> Search[tuple[float, float]]:
        """The two neighbours of some values between which an input leaves the leaf that it has at the first."""
        low, high = 0, len(places) - 1
        turned = start.copy()
        turned[feature] = places[0]
        leaf = yield from self._evidence.leaf(turned)
        while high - low > 1:
            middle = (low + high) // 2
            turned = start.copy()
            turned[feature] = places[middle]
            is_same = (yield from self._evidence.leaf(turned)) == leaf
            low, high = (middle, high) if is_same else (low, middle)
        return places[low], places[high]


def _turned(start: Features, end: Features, features: NDArray[np.intp]) -> Features:
    turned = start.copy()
    turned[features] = end[features]
    return turned


def _likely(values: Features, step: float) -> Features:
    """Where learners put thresholds, just below and just above each: at values, and midway between neighbours."""
    levels = np.unique(values)
    likely = np.concatenate([levels, (levels[1:] + levels[:-1]) / 2.0])
    return np.unique([likely, likely + 0.99 * step])

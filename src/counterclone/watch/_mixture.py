"""A cloud of accounts that act alike, among honest ones: a mixture of two, found by expectation-maximisation.

The honest part is known from the reference. The other part is a mean and a variance along each coordinate,
since a campaign has too few accounts to tell more (Dempster, Laird, Rubin 1977).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from counterclone.watch._space import Points, Space

FEWEST = 8
"""Accounts that a cloud is drawn from; fewer say nothing about its place."""
_ROUNDS = 25
_GATHERINGS = 8
_HONEST_LOOKED_AT = 10_000
_SAME = 0.9
_PRIOR_ACCOUNTS = 10.0  # that say: spread as honest accounts are
_NARROWEST, _WIDEST = 0.1, 1.5
_SETTLED = 1e-3


Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Cloud:
    """One side of the mixture.

    Attributes:
        space: where honest accounts are round.
        centre: of the cloud, (dimensions,).
        variances: along each coordinate, (dimensions,).
        learned: what the accounts that it was drawn from would score had it been drawn without them, (accounts,).
    """

    space: Space
    centre: Points
    variances: Points
    learned: Points

    def score(self, points: Points) -> Points:
        """The logarithm of its density over the honest one's at points in the space: (n,)."""
        return _odds(self.space, self.centre, self.variances, points, points**2)

    def likeness(self, other: Cloud) -> float:
        """The cosine between the directions in which two clouds lie, -1 to 1."""
        lengths = np.sqrt((self.centre**2).sum() * (other.centre**2).sum())
        return float(self.centre @ other.centre / max(lengths, 1e-12))


def grow(space: Space, points: Points, honest: Points, starts: Sequence[Rows]) -> list[Cloud]:
    """The clouds that starts gather and settle in; some dissolve, and some are the same.

    Args:
        space: where honest accounts are round.
        points: accounts under suspicion, in it, (n, dimensions).
        honest: honest accounts, (m, dimensions).
        starts: rows of `points`, for each.
    """
    squared = points**2
    honest = honest[:_HONEST_LOOKED_AT]
    honest_squared = honest**2
    clouds: list[Cloud] = []
    for start in starts:
        weights = _gathered(space, points, squared, start)
        if all(_overlap(weights, cloud.learned > 0.0) < _SAME for cloud in clouds):
            cloud = _settled(space, points, squared, weights, honest=honest, honest_squared=honest_squared)
            clouds += [] if cloud is None else [cloud]
    return clouds


def _gathered(space: Space, points: Points, squared: Points, start: Rows) -> Points:
    """As many accounts as a start has, those nearest to what they have in common: weights, (n,).

    A start that is few accounts of a cloud and many others has no density of its own yet.
    """
    weights = np.zeros(len(points))
    weights[start] = 1.0
    for _ in range(_GATHERINGS):
        before = weights
        odds = _odds(space, *_drawn(points, squared, weights), points, squared, weights=weights)
        weights = np.zeros(len(points))
        weights[np.argpartition(-odds, len(start) - 1)[:len(start)]] = 1.0
        if (weights == before).all():
            break
    return weights


def _settled(space: Space, points: Points, squared: Points, weights: Points, *, honest: Points,
             honest_squared: Points) -> Cloud | None:
    cloud = None
    for _ in range(_ROUNDS):
        total = weights.sum()
        if total < FEWEST:
            return None
        centre, variances = _drawn(points, squared, weights)
        odds = _odds(space, centre, variances, points, squared, weights=weights)
        cloud = Cloud(space, centre, variances, odds)
        share = max(weights.mean(), 1.0 / len(points))
        # what honest accounts put into the cloud isn't the campaign's: its share is what there is beyond them
        honest_odds = _odds(space, centre, variances, honest, honest_squared)
        usual = float(expit(honest_odds + np.log(share / (1.0 - share))).mean())
        excess = max(share - usual, 0.1 / len(points))
        before = weights
        weights = excess / (share + np.exp(np.minimum(np.log1p(-share) - odds, 500.0)))
        if np.abs(weights - before).sum() < _SETTLED * total:
            break
    return cloud


def _overlap(weights: Points, others: NDArray[np.bool_]) -> float:
    both = float(weights[others].sum())
    return both / max(float(weights.sum()), float(others.sum()), 1.0)


def _odds(space: Space, centre: Points, variances: Points, points: Points, squared: Points, *,
          weights: Points | None = None) -> Points:
    """Of points under a cloud, (n,); `weights` are what each has in it, which it mustn't profit from."""
    inverse = 1.0 / variances
    # of (x - centre)**2 / variance only products with matrices are made: the rows are many
    distances = squared @ inverse - 2.0 * (points @ (centre * inverse)) + centre**2 @ inverse
    if weights is not None:
        # an account is nearer to a mean that it is part of: without this, few accounts by chance are a cloud
        total = weights.sum()
        distances = distances * (total / (total - np.minimum(weights, total / 2.0)))**2
    odds: Points = -(distances + np.log(variances).sum()) / 2.0 - space.log_density(squared.sum(axis=1))
    return odds


def _drawn(points: Points, squared: Points, weights: Points) -> tuple[Points, Points]:
    """Centre and variances, (dimensions,) each."""
    total = weights.sum()
    centre = weights @ points / total
    variances = (weights @ squared - total * centre**2 + _PRIOR_ACCOUNTS) / (total + _PRIOR_ACCOUNTS)
    variances = variances.clip(_NARROWEST, _WIDEST)
    # a mean that chance explains is none: in many dimensions chance would drown the rest
    chance = variances / total
    return centre * np.maximum(1.0 - chance / np.maximum(centre**2, 1e-12), 0.0), variances

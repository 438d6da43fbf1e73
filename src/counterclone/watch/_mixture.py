"""A cloud of accounts that act alike, among honest ones: a mixture of two, found by expectation-maximisation.

The honest part is known from the reference. The other part is a mean and a variance along each coordinate,
since a campaign has too few accounts to tell more (Dempster, Laird, Rubin 1977).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from counterclone.watch._space import Points, Space

FEWEST = 8
"""Accounts that a cloud is drawn from; fewer say nothing about its place."""
_ROUNDS = 30
_GATHERINGS = 8
_PRIOR_ACCOUNTS = 10.0  # that say: spread as honest accounts are
_NARROWEST, _WIDEST = 0.1, 1.5
_SETTLED = 1e-3


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


def grow(space: Space, points: Points, honest: Points, members: NDArray[np.intp]) -> Cloud | None:
    """The cloud that some accounts start and all of them settle; None where it dissolves.

    Args:
        space: where honest accounts are round.
        points: accounts under suspicion, in it, (n, dimensions).
        honest: honest accounts, (m, dimensions).
        members: of `points`, that start it.
    """
    squared, honest_squared = points**2, honest**2
    weights = np.zeros(len(points))
    weights[members] = 1.0
    cloud = None
    for number in range(_ROUNDS):
        total = weights.sum()
        if total < FEWEST:
            return None
        centre, variances = _drawn(points, squared, weights)
        # an account is nearer to a mean that it is part of: without this, few accounts by chance are a cloud
        nearer = (total / (total - np.minimum(weights, total / 2.0)))**2
        odds = _odds(space, centre, variances, points, squared, nearer=nearer)
        honest_odds = _odds(space, centre, variances, honest, honest_squared)
        cloud = Cloud(space, centre, variances, odds)
        share = max(weights.mean(), 1.0 / len(points))
        # what honest accounts put into the cloud isn't the campaign's: its share is what there is beyond them
        usual = float(expit(honest_odds + np.log(share / (1.0 - share))).mean())
        excess = max(share - usual, 0.1 / len(points))
        before = weights
        if number < _GATHERINGS:  # a start that is few of the cloud and many others has no density yet: it gathers
            weights = np.zeros(len(points))
            weights[np.argpartition(-odds, len(members) - 1)[:len(members)]] = 1.0
            continue
        weights = excess / (share + np.exp(np.minimum(np.log1p(-share) - odds, 500.0)))
        if np.abs(weights - before).sum() < _SETTLED * total:
            break
    return cloud


def _odds(space: Space, centre: Points, variances: Points, points: Points, squared: Points, *,
          nearer: Points | float = 1.0) -> Points:
    inverse = 1.0 / variances
    # of (x - centre)**2 / variance only products with matrices are made: the rows are many
    distances = squared @ inverse - 2.0 * (points @ (centre * inverse)) + centre**2 @ inverse
    odds: Points = -(nearer * distances + np.log(variances).sum()) / 2.0 - space.log_density(squared.sum(axis=1))
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

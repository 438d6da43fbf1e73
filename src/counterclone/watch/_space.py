"""Profiles in coordinates in which honest accounts are one round cloud, and how dense it is there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Points = NDArray[np.float64]

_NEAR = 3.0
"""Further out along a coordinate, distances count by their logarithm: one odd figure isn't everything."""
_SIZES = np.array([0.8, 1.0, 1.25, 1.6, 2.0, 2.5, 3.5, 5.0])
_ROUNDS = 50
_UNMOVED, _FURTHEST_MOVE, _LARGEST_GROWTH = 0.1, 1.0, 1.5
_MIDDLE = np.linspace(0.25, 0.75, 21)
_QUARTILES = 1.349  # of a normal distribution, from one to the other
_RIDGE = 0.05  # of the mean variance


@dataclass(frozen=True)
class Space:
    """Where honest accounts are about standard normal, with tails of their own.

    Attributes:
        centre: the honest accounts' mean, (dimensions,).
        units: their standard deviation along each coordinate, (dimensions,).
        whitener: what takes correlations between coordinates out, (dimensions, dimensions).
        shares: of honest accounts by the size of their cloud, (sizes,).
    """

    centre: Points
    units: Points
    whitener: Points
    shares: Points

    @classmethod
    def fit(cls, honest: Points) -> Space:
        """The space of honest accounts' profiles, (accounts, dimensions)."""
        centre, units = middle(honest)
        units = np.maximum(units, 1e-6 + 0.1 * honest.std(axis=0))
        tame = _tame((honest - centre) / units)
        variances, directions = np.linalg.eigh(np.cov(tame, rowvar=False).reshape(honest.shape[1], -1))
        ridge = _RIDGE * variances.mean()
        # the symmetric root keeps coordinates near what they were, which trees and diagonal spreads like
        whitener = (directions / np.sqrt(np.maximum(variances, 0.0) + ridge)) @ directions.T
        space = cls(centre, units, whitener, np.full(len(_SIZES), 1.0 / len(_SIZES)))
        logs = space._logs((space.place(honest)**2).sum(axis=1))
        shares = space.shares
        for _ in range(_ROUNDS):
            weighed = logs + np.log(shares)
            shares = np.exp(weighed - logsumexp(weighed, axis=1, keepdims=True)).mean(axis=0) + 1e-4
            shares /= shares.sum()
        return cls(centre, units, whitener, shares)

    def moved(self, profiles: Points) -> Space:
        """The same about the middle of other accounts, most of whom are honest: when everybody drifts, nobody did.

        Args:
            profiles: (accounts, dimensions).
        """
        centre, units = middle(profiles)
        step = (centre - self.centre) / self.units
        # where nobody drifted nothing moves: trees would tell figures of few values apart by a hair's shift
        step = np.copysign((np.abs(step) - _UNMOVED).clip(0.0, _FURTHEST_MOVE), step)
        growth = (units / self.units - _UNMOVED).clip(1.0, _LARGEST_GROWTH)
        return replace(self, centre=self.centre + step * self.units, units=self.units * growth)

    def place(self, profiles: Points) -> Points:
        """Where accounts are, (accounts, dimensions)."""
        placed: Points = _tame((profiles - self.centre) / self.units) @ self.whitener
        return placed

    def log_density(self, squares: Points) -> Points:
        """Of honest accounts at points with these squared lengths, without the factor of all dimensions: (n,)."""
        return np.asarray(logsumexp(self._logs(squares) + np.log(self.shares), axis=1))

    def _logs(self, squares: Points) -> Points:
        """By size of the cloud, (n, sizes)."""
        logs: Points = -squares[:, np.newaxis] / (2.0 * _SIZES**2) - len(self.centre) * np.log(_SIZES)
        return logs


def middle(points: Points) -> tuple[Points, Points]:
    """Where most of them are along each coordinate, and how far apart, as normal deviations: (dimensions,) each.

    A campaign of a fifth of the accounts hardly moves quartiles, however far out it is. The middle is the mean
    between them: a median of figures of few values jumps from one to another.
    """
    quantiles = np.quantile(points, _MIDDLE, axis=0)
    return quantiles.mean(axis=0), (quantiles[-1] - quantiles[0]) / _QUARTILES


def _tame(points: Points) -> Points:
    sizes = np.abs(points)
    excess = np.maximum(sizes - _NEAR, 0.0)
    tamed: Points = np.copysign(np.minimum(sizes, _NEAR) + np.log1p(excess), points)
    return tamed

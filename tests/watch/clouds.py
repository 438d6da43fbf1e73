"""Accounts as points, without traffic behind them: honest ones differ, have odd cliques and long tails."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from counterclone.randomness import Generator, generator

Points = NDArray[np.float64]
DIMENSIONS = 16


def honest(n: int, rng: Generator, shift: float = 0.0, size: float = 1.0) -> Points:
    """Two of a hundred are evaluators, alike among each other; lengths have a longer tail than normal."""
    points = rng.standard_normal((n, DIMENSIONS)) * np.sqrt(rng.gamma(8.0, 1.0 / 8.0, (n, 1)))
    evaluators = rng.random(n) < 0.02
    points[evaluators] = 0.4 * points[evaluators] + np.linspace(-2.0, 2.0, DIMENSIONS)
    shifted: Points = points * size + shift
    return shifted


def campaign(n: int, rng: Generator, distance: float, spread: float = 0.8, towards: int = 0) -> Points:
    """Accounts about one point, in a direction that a number names."""
    direction = generator(towards, "direction").standard_normal(DIMENSIONS)
    centre = distance * direction / np.sqrt((direction**2).sum())
    points: Points = centre + spread * rng.standard_normal((n, DIMENSIONS))
    return points

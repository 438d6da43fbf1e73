"""More inputs like those of a pool, where a budget is larger than it."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy

import numpy as np
from numpy.typing import NDArray

from counterclone.queries import Features
from counterclone.randomness import Generator, generator

SHAKE = 0.1
"""Normal noise on what is made, as a share of a feature's range."""
FEW_VALUES = 10
"""A feature with no more different values than this isn't shaken: it is a kind, a flag or a count."""
LEAST_SIDE, LEAST_POOL = 4, 30
ALIKE = 2.0
"""Neighbours in an image are alike so many times as much as two features drawn at random."""

Places = NDArray[np.intp]
Maker = Callable[[int, Generator], Features]
"""Makes so many inputs."""


class Copies:
    """Ways to make inputs from a pool's.

    Args:
        pool: (n, features), n > 0.
        lower: the least sensible value of each feature, (features,).
        upper: the largest.

    Attributes:
        side: of square images, 0 where the inputs aren't images.
    """

    def __init__(self, pool: Features, lower: Features, upper: Features) -> None:
        self._pool = pool
        self._lower = lower
        self._upper = upper
        self.side = side(pool)
        values = np.array([len(np.unique(column)) for column in pool.T])
        self._shake = np.where(values > FEW_VALUES, SHAKE * (upper - lower), 0.0)

    def of(self, some: Features) -> Copies:
        """Copies of some of the pool's inputs only, in the same ways."""
        others = copy(self)
        others._pool = some
        return others

    @property
    def makers(self) -> list[Maker]:
        """Every way that fits the pool."""
        return [*([self.rolled] if self.side else []), self.crossed]

    def rolled(self, n: int, rng: Generator) -> Features:
        """Images moved by one pixel at most: (n, features)."""
        drawn = self._drawn(n, rng)
        images = drawn.reshape(n, self.side, self.side)
        rows, columns = (rng.integers(-1, 2, n) for _ in range(2))
        moved = np.stack([np.roll(image, by, (0, 1)) for image, *by in zip(images, rows, columns, strict=True)])
        return self._shaken(moved.reshape(drawn.shape), rng)

    def crossed(self, n: int, rng: Generator) -> Features:
        """Each feature from one of two inputs: (n, features)."""
        one, other = self._drawn(n, rng), self._drawn(n, rng)
        return self._shaken(np.where(rng.random(one.shape) < rng.random((n, 1)), one, other), rng)

    def _drawn(self, n: int, rng: Generator) -> Features:
        return self._pool[rng.integers(0, len(self._pool), n)]

    def _shaken(self, inputs: Features, rng: Generator) -> Features:
        return (inputs + self._shake * rng.standard_normal(inputs.shape)).clip(self._lower, self._upper)


def side(pool: Features) -> int:
    """The side of square images, as their features tell: neighbours are alike; 0 where they aren't images."""
    width = pool.shape[1]
    length = math.isqrt(width)
    if length * length != width or length < LEAST_SIDE or len(pool) < LEAST_POOL:
        return 0
    deviations = pool.std(axis=0)
    standard = (pool - pool.mean(axis=0)) / np.where(deviations > 0.0, deviations, np.inf)
    places = np.arange(width).reshape(length, length)

    def likeness(some: Places, others: Places) -> float:
        return float(np.abs((standard[:, some.ravel()] * standard[:, others.ravel()]).mean(axis=0)).mean())

    below, beside = likeness(places[:-1], places[1:]), likeness(places[:, :-1], places[:, 1:])
    anyone = likeness(places, generator(0, "pairs").permutation(places.ravel()))
    return length if min(below, beside) > ALIKE * anyone else 0

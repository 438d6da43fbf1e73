"""Queries put into cells of like ones, the same cell whatever batch they come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors._sample import salt_of
from counterclone.encoders import VECTOR_SIZE
from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.randomness import generator

FEWEST_VECTORS = 100

_STEPS = 256.0  # of a standard deviation: whole numbers add up exactly, in any order and on any machine
_FARTHEST = 16.0  # standard deviations, so that no sum leaves the whole numbers
_LEAST_SCALE = 0.5  # of the usual spread, for coordinates that hardly vary


@dataclass(frozen=True)
class Projection:
    """Random signed sums of the vectors' scaled coordinates, in whole numbers that 32-bit floats hold exactly.

    Attributes:
        centre: (64,).
        rate: 1 over the coordinates' standard deviations, (64,).
        signs: (64, p).
    """

    centre: NDArray[np.float32]
    rate: NDArray[np.float32]
    signs: NDArray[np.float32]

    @classmethod
    def fit(cls, reference: Exchanges, *, n_projections: int) -> Self:
        """One of its own for each reference, which nobody outside can know.

        Raises:
            WatchError: fewer than 100 exchanges have vectors.
        """
        vectors = reference.vectors[has_vector(reference)].astype(np.float64)
        if len(vectors) < FEWEST_VECTORS:
            raise WatchError(f"the reference has fewer than {FEWEST_VECTORS} exchanges whose queries have "
                             "vectors; give it more, or leave this detector out")
        spreads = vectors.std(axis=0)
        usual = float(np.median(spreads[spreads > 0.0])) if spreads.any() else 1.0
        rng = generator(int(salt_of(reference.digests, 0)), "projection", n_projections)
        return cls(vectors.mean(axis=0).astype(np.float32),
                   (1.0 / np.maximum(spreads, _LEAST_SCALE * usual)).astype(np.float32),
                   rng.choice([-1.0, 1.0], (VECTOR_SIZE, n_projections)).astype(np.float32))

    def scaled(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors in standard deviations from the reference's mean: (n, 64)."""
        return (vectors - self.centre) * self.rate

    def sums(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scaled vectors (n, 64) to (n, p)."""
        return steps(scaled, _STEPS, _FARTHEST) @ self.signs


def steps(scaled: NDArray[np.float32], steps: float, farthest: float) -> NDArray[np.float32]:
    """Whole numbers, so many for 1, up to those for `farthest`: (n, d)."""
    whole = scaled * np.float32(steps)
    np.rint(whole, out=whole)
    return np.clip(whole, np.float32(-steps * farthest), np.float32(steps * farthest), out=whole)


@dataclass(frozen=True)
class Cells:
    """Boxes of a grid over a few projections.

    Attributes:
        projection: of vectors.
        widths: of the boxes, (p,).
        offsets: of the grid, in boxes, (p,).
        multipliers: odd numbers that make one of a box's, (p,).
    """

    projection: Projection
    widths: NDArray[np.float64]
    offsets: NDArray[np.float64]
    multipliers: NDArray[np.uint64]

    @classmethod
    def fit(cls, reference: Exchanges, *, n_projections: int, width: float) -> Self:
        """A grid of its own for each reference.

        Args:
            reference: honest traffic.
            n_projections: how many.
            width: of a box, in standard deviations of a projection.

        Raises:
            WatchError: fewer than 100 exchanges have vectors.
        """
        projection = Projection.fit(reference, n_projections=n_projections)
        sums = projection.sums(projection.scaled(reference.vectors[has_vector(reference)]))
        rng = generator(int(salt_of(reference.digests, 0)), "cells", n_projections)
        odd = rng.integers(0, 2**63, n_projections).astype(np.uint64) * np.uint64(2) + np.uint64(1)
        return cls(projection, np.maximum(width * sums.std(axis=0, dtype=np.float64), 1.0),
                   rng.random(n_projections), odd)

    def hashes(self, scaled: NDArray[np.float32]) -> NDArray[np.uint64]:
        """The cell of each vector, scaled by the projection (n, 64), as a number: (n,)."""
        boxes = np.floor(self.projection.sums(scaled) / self.widths + self.offsets).astype(np.int64)
        hashes: NDArray[np.uint64] = (boxes.view(np.uint64) * self.multipliers).sum(axis=1, dtype=np.uint64)
        return hashes


def has_vector(exchanges: Exchanges) -> NDArray[np.bool_]:
    """Which exchanges have a vector: (n,)."""
    return ~np.isnan(exchanges.vectors[:, 0])

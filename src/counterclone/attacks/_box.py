"""The box of sensible inputs that numeric attacks ask in."""

from __future__ import annotations

import numpy as np

from counterclone.protocols import Prior
from counterclone.queries import Features
from counterclone.randomness import Generator

WIDEST = 2000
DRAWN = 256


class Box:
    """Sensible values of each feature, and coordinates from -1 to 1 for them.

    Args:
        lower: the least of each feature, (features,).
        upper: the largest.

    Attributes:
        lower: as above.
        upper: as above.
        centre: the middle of each, (features,).
        half: half the width of each; 0 where a feature has one value.
    """

    def __init__(self, lower: Features, upper: Features) -> None:
        self.lower = lower
        self.upper = upper
        self.centre = (lower + upper) / 2.0
        self.half = (upper - lower) / 2.0

    @classmethod
    def of(cls, prior: Prior) -> Box:
        """The box of a prior; where values beyond it are answered, a feature that never varied is given room."""
        box = cls(prior.lower, prior.upper)
        varied = box.half[box.half > 0.0]
        if not prior.is_open or len(varied) == len(box.half):
            return box
        half = np.where(box.half > 0.0, box.half, np.median(varied) if len(varied) else 1.0)
        return cls(box.centre - half, box.centre + half)

    def widened(self, factor: float) -> Box:
        """A box with the same centre, so many times as wide."""
        return Box(self.centre - factor * self.half, self.centre + factor * self.half)

    def uniform(self, rng: Generator, n: int) -> Features:
        """Inputs drawn evenly: (n, features)."""
        return self.at(rng.uniform(-1.0, 1.0, (n, len(self.centre))))

    def corners(self, rng: Generator, n: int) -> Features:
        """Corners drawn evenly: (n, features)."""
        return self.at(rng.choice((-1.0, 1.0), (n, len(self.centre))))

    def design(self, rng: Generator) -> Features:
        """Inputs from which linear equations are solved best: (n, features).

        Their coordinates are orthogonal, and to the column of ones, so that the last digits of the answers aren't
        magnified; n is features + 1. Where that is too many to make them so, some are drawn evenly.
        """
        width = len(self.centre)
        if width > WIDEST:
            return self.uniform(rng, DRAWN)
        normals = rng.standard_normal((width + 1, width + 1))
        normals[:, 0] = 1.0
        columns = np.linalg.qr(normals)[0][:, 1:]
        return self.at(columns / np.abs(columns).max(axis=0))

    def at(self, coordinates: Features) -> Features:
        """The inputs at coordinates: (n, features)."""
        return self.centre + coordinates * self.half

    def coordinates(self, inputs: Features) -> Features:
        """The coordinates of inputs, 0 in a feature that has one value: (n, features)."""
        return (inputs - self.centre) / np.where(self.half > 0.0, self.half, np.inf)


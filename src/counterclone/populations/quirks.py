"""Looks of another make, which `strangers` wear: nothing here is shared with `looks`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from counterclone.populations.beds import Bed
from counterclone.populations.looks import Look, Styles
from counterclone.queries import Features
from counterclone.randomness import Generator


def quirks(bed: Bed) -> Look:
    """The other look for a bed's inputs."""
    if bed.side:
        return ImageQuirks(bed.side)
    data = bed.parts["training"].inputs
    if bed.step:
        return TableQuirks(bed.lower, bed.upper, data.mean(axis=0), data.std(axis=0), bed.step)
    return ShareQuirks(bed.lower, bed.upper)


@dataclass(frozen=True)
class ImageQuirks:
    """Other cameras: gamma, slant, shade towards the corners, grain, and few levels of grey."""

    side: int

    def draw(self, n: int, rng: Generator) -> Styles:
        """Logarithm of gamma, slant in pixels, shade, grain, levels, and a moire: its size and two waves."""
        levels = np.where(rng.random(n) < 0.5, 255.0, rng.integers(8, 33, n))
        moire = [rng.exponential(0.06, n), rng.uniform(0.5, 5.0, n), rng.uniform(0.0, 6.3, n),
                 rng.uniform(0.5, 5.0, n), rng.uniform(0.0, 6.3, n)]
        return np.stack([rng.normal(0.0, 0.2, n), rng.uniform(-0.8, 0.8, n), rng.exponential(0.08, n),
                         rng.gamma(4.0, 0.02, n), levels, *moire], axis=1).astype(np.float32)

    def wear(self, inputs: Features, styles: Styles, rng: Generator) -> Features:
        """The images, from 0 to 1."""
        side = self.side
        places = np.linspace(-1.0, 1.0, side, dtype=np.float32)
        images = inputs.reshape(-1, side, side).astype(np.float32)
        images **= np.exp(styles[:, 0])[:, None, None]
        slant = styles[:, 1, None, None] * places[:, None]
        left, right = np.zeros_like(images), np.zeros_like(images)
        left[:, :, 1:], right[:, :, :-1] = images[:, :, :-1], images[:, :, 1:]
        images = images * (1.0 - np.abs(slant)) + left * np.maximum(slant, 0.0) + right * np.maximum(-slant, 0.0)
        images *= 1.0 - styles[:, 2, None, None] * (places[:, None]**2 + places**2)
        along, down = (np.sin(styles[:, i, None] * places + styles[:, i + 1, None]) for i in (6, 8))
        images += styles[:, 5, None, None] * along[:, None, :] * down[:, :, None]
        grain = styles[:, 3, None, None]
        images += grain * (0.2 + images) * rng.standard_normal(images.shape, dtype=np.float32)
        levels = styles[:, 4, None]
        flat = images.reshape(len(images), -1).clip(0.0, 1.0)
        worn: Features = (np.rint(flat * levels) / levels).astype(np.float64)
        return worn


@dataclass(frozen=True)
class TableQuirks:
    """Other instruments: each feature has a gain of its own, all lean one way, and some are stuck halfway."""

    lower: Features
    upper: Features
    centre: Features
    spread: Features
    step: float

    def draw(self, n: int, rng: Generator) -> Styles:
        """Gains, then offsets in deviations, then the size of the error."""
        d = len(self.centre)
        gains = rng.normal(1.0, 0.08, (n, d))
        stuck = np.flatnonzero(rng.random(n) < 0.3)
        gains[stuck, rng.integers(0, d, len(stuck))] *= 0.5
        leans = rng.standard_t(5, (n, 1)) * 0.25 * _directions(n, d, rng)
        return np.concatenate([gains, leans, rng.gamma(4.0, 0.03, (n, 1))], axis=1).astype(np.float32)

    def wear(self, inputs: Features, styles: Styles, rng: Generator) -> Features:
        """The rows, inside their range."""
        d = len(self.centre)
        error = styles[:, -1:] * rng.laplace(size=inputs.shape) + styles[:, d:-1]
        worn = self.centre + (inputs - self.centre) * styles[:, :d] + error * self.spread
        return np.clip(np.rint(worn / self.step) * self.step, self.lower, self.upper)


@dataclass(frozen=True)
class ShareQuirks:
    """Other mail: longer or shorter, some words left out of each, other habits of capitals."""

    lower: Features
    upper: Features

    def draw(self, n: int, rng: Generator) -> Styles:
        """Logarithms of the gain of words and of capitals, and the share of words left out."""
        return np.stack([rng.normal(0.0, 0.3, n), rng.normal(0.0, 0.4, n), rng.beta(1.0, 9.0, n)],
                        axis=1).astype(np.float32)

    def wear(self, inputs: Features, styles: Styles, rng: Generator) -> Features:
        """The rows; what is zero stays zero."""
        is_share = np.arange(inputs.shape[1]) < inputs.shape[1] - _CAPITALS
        gains = np.where(is_share, styles[:, :1], styles[:, 1:2])
        is_there = ~is_share | (rng.random(inputs.shape) >= styles[:, 2:3])
        noise = 0.1 * rng.laplace(size=inputs.shape)
        worn: Features = np.clip(inputs * np.exp(gains + noise) * is_there, self.lower, self.upper)
        return worn


_CAPITALS = 3


def _directions(n: int, d: int, rng: Generator) -> Features:
    """Random directions of length sqrt(d): (n, d)."""
    drawn = rng.standard_normal((n, d))
    directions: Features = drawn / np.sqrt((drawn**2).mean(axis=1, keepdims=True))
    return directions

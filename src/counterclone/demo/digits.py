"""The model of the act `guard`: scikit-learn's handwritten digits, three disjoint parts of the data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.queries import Features
from counterclone.randomness import generator

ROUTE = "/v1/models/digits:predict"
N_CLASSES = 10
TRAINED_ON, POOLED = 900, 447


class Part(NamedTuple):
    """A part of the data: pixels from 0 to 1, (n, 64), and digits, (n,)."""

    pixels: Features
    digits: NDArray[np.intp]


class Digits(NamedTuple):
    """What the owner trains on, what a copier queries, and what honest users ask."""

    training: Part
    pool: Part
    honest: Part


def load(seed: int) -> Digits:
    """The 1,797 images, shuffled by the seed and cut into 900, 447 and 450."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    order = generator(seed, "split").permutation(len(pixels))
    ends = (TRAINED_ON, TRAINED_ON + POOLED)
    return Digits(*(Part(pixels[rows] / 16.0, digits[rows].astype(np.intp)) for rows in np.split(order, ends)))


def train(part: Part, seed: int) -> Any:
    """The owner's model: a network with one hidden layer of 64 units."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(hidden_layer_sizes=(64,), max_iter=600, random_state=seed).fit(part.pixels, part.digits)

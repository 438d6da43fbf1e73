"""Who is copied, and by whom: a model, and the parts of a data set that its owner, a copier and others have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.marks_network import Network
from counterclone.answers import Rows
from counterclone.queries import Features
from counterclone.randomness import Generator, generator

NAMES = ("tabular", "digits")
QUERIES = 12_000
N_OWNER, N_PUBLIC, N_UNSEEN = 6_000, 3_000, 4_000
HIDDEN, EPOCHS = (128, 64), 30
Labels = NDArray[np.intp]


class Part(NamedTuple):
    """Inputs and what they truly are: (n, features), (n,)."""

    inputs: Features
    labels: Labels


@dataclass(frozen=True, kw_only=True)
class Bed:
    """A model and what others have.

    Attributes:
        name: of the data.
        draw: fresh inputs of somebody, by name, and their labels: whose, how many.
        victim: the owner's model, (n, features) to (n, classes).
        unseen: what nobody trained on.
        classes: how many.
    """

    name: str
    draw: Callable[[str, int], Part]
    victim: Callable[[Features], Rows]
    unseen: Part
    classes: int

    def accuracy(self, labels: Labels) -> float:
        """Of answers to `unseen`."""
        return float(np.mean(labels == self.unseen.labels))


def load(name: str, seed: int) -> Bed:
    """A bed with a victim of its own."""
    draw = {"tabular": _tabular, "digits": _digits}[name](seed)
    training, unseen = draw("owner", N_OWNER), draw("unseen", N_UNSEEN)
    classes = int(training.labels.max()) + 1
    network = Network.drawn((training.inputs.shape[1], *HIDDEN, classes), generator(seed, "victim", name))
    network.learn(training.inputs, one_hot(training.labels, classes), EPOCHS)
    return Bed(name=name, draw=draw, victim=network.answer, unseen=unseen, classes=classes)


def one_hot(labels: Labels, classes: int) -> Rows:
    """Rows that know labels only: (n, classes)."""
    rows: Rows = np.eye(classes)[labels]
    return rows


@functools.cache
def _table() -> Part:
    """30 features, of which half tell; scikit-learn's generator is seeded, so it is a data set."""
    from sklearn.datasets import make_classification

    inputs, labels = make_classification(250_000, 30, n_informative=15, n_redundant=5, n_classes=8,
                                         n_clusters_per_class=2, class_sep=2.0, random_state=0)
    return Part(inputs / inputs.std(axis=0), labels.astype(np.intp))


def _tabular(seed: int) -> Callable[[str, int], Part]:
    whole = _table()
    order = generator(seed, "tabular").permutation(len(whole.labels))
    taken: dict[str, slice] = {}

    def draw(whose: str, n: int) -> Part:
        if whose not in taken:
            start = max((each.stop for each in taken.values()), default=0)
            taken[whose] = slice(start, start + n)
        rows = order[taken[whose]]
        if len(rows) != n:
            raise ValueError(f"'{whose}' has {len(rows)} inputs, {n} were asked for")
        return Part(whole.inputs[rows], whole.labels[rows])

    return draw


SHARES = {"owner": 0.35, "unseen": 0.15, "public": 0.15}
"""Of the images of digits; copiers and others share the rest, each with moves and noise of its own."""


def _digits(seed: int) -> Callable[[str, int], Part]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = generator(seed, "digits").permutation(len(labels))
    ends = np.rint(np.cumsum(list(SHARES.values())) * len(order)).astype(np.intp)
    *owned, rest = np.split(order, ends)
    places = dict(zip(SHARES, owned, strict=True))

    def draw(whose: str, n: int) -> Part:
        rng = generator(seed, "digits", whose)
        rows = rng.choice(places.get(whose, rest), n)
        return Part(_moved(pixels[rows] / 16.0, rng), labels[rows].astype(np.intp))

    return draw


def _moved(images: Features, rng: Generator) -> Features:
    """Images of 8 x 8, each moved by up to a pixel either way, with noise: (n, 64)."""
    framed = np.pad(images.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    down, right = rng.integers(0, 3, (2, len(images)))
    window = np.arange(8)
    moved = framed[np.arange(len(images))[:, None, None], (down[:, None] + window)[:, :, None],
                   (right[:, None] + window)[:, None, :]]
    noisy: Features = moved.reshape(len(images), 64) + 0.15 * rng.standard_normal((len(images), 64))
    return np.clip(noisy, 0.0, 1.0)

"""What accounts ask for: some classes more than others, and some queries again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from counterclone.fidelity import Labels
from counterclone.randomness import Generator

Tastes = NDArray[np.float32]
"""One sender's shares of the classes a row: (senders, classes)."""

FAVOURITES = 0.8
"""The share of a sender's queries that is of favourite classes."""
_STICKING = 1.0
_AT_ONCE = 1 << 18


def favourites(n: int, prior: NDArray[np.float64], rng: Generator) -> Tastes:
    """Tastes of senders with one to three favourite classes of their own.

    Args:
        n: how many.
        prior: the classes' shares in the data, (classes,).
        rng: draws them.
    """
    # the largest of uniform draws to the power of 1 / share: a draw of three without putting back
    keys = np.log(rng.random((n, len(prior)))) / np.maximum(prior, 1e-12)
    most = min(3, len(prior) - 1)
    ranked = np.argsort(-keys, axis=1)[:, :most]
    weights = rng.exponential(size=(n, most))
    weights[np.arange(most) >= rng.integers(1, most + 1, n)[:, None]] = 0.0
    tastes = np.tile((1.0 - FAVOURITES) * prior, (n, 1))
    np.put_along_axis(tastes, ranked, np.take_along_axis(tastes, ranked, axis=1)
                      + FAVOURITES * weights / weights.sum(axis=1, keepdims=True), axis=1)
    return tastes.astype(np.float32)


def broad(n: int, prior: NDArray[np.float64], rng: Generator, concentration: float = 8.0) -> Tastes:
    """Tastes of senders that need all classes, in shares of their own."""
    return rng.dirichlet(concentration * len(prior) * prior + 0.2, n).astype(np.float32)


def tilted(prior: NDArray[np.float64], tilt: float) -> NDArray[np.float64]:
    """A prior where every other class has become `tilt` times as frequent."""
    weights = prior * np.where(np.arange(len(prior)) % 2, tilt, 1.0)
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


class Catalogue:
    """Inputs by their classes.

    Args:
        labels: of the inputs, (m,).
        n_classes: how many there may be.
    """

    def __init__(self, labels: Labels, n_classes: int) -> None:
        self._order = np.argsort(labels, kind="stable")
        self._counts = np.bincount(labels, minlength=n_classes)
        self._starts = np.cumsum(self._counts) - self._counts
        self.prior = self._counts / self._counts.sum()

    def draw(self, tastes: Tastes, senders: NDArray[np.intp], rng: Generator) -> NDArray[np.intp]:
        """An input for each query, by its sender's taste: (queries,).

        Within a class each sender has an order of preference, and sticks to its head more or less.
        """
        bounds = np.cumsum(tastes, axis=1)
        bounds[:, -1] = 2.0  # rounding mustn't lead beyond the last
        classes = np.empty(len(senders), dtype=np.intp)
        for start in range(0, len(senders), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            draws = rng.random(len(senders[part]), dtype=np.float32)
            classes[part] = (bounds[senders[part]] <= draws[:, None]).sum(axis=1)
        classes = np.where(self._counts[classes] > 0, classes, self._counts.argmax())
        counts = self._counts[classes]
        heads, sticking = rng.random(len(tastes)), 1.0 + rng.exponential(_STICKING, len(tastes))
        ranks = heads[senders] + rng.random(len(senders)) ** sticking[senders]
        items: NDArray[np.intp] = self._order[self._starts[classes] + (ranks * counts).astype(np.intp) % counts]
        return items

    def balanced(self, n: int, rng: Generator) -> NDArray[np.intp]:
        """`n` inputs with as many of each class as can be, none twice before all were had: (n,)."""
        rounds = [rng.permutation(np.concatenate([
            self._order[start + rng.permutation(count)[:n // len(self._counts) + 1]]
            for start, count in zip(self._starts, self._counts, strict=True)]))]
        while sum(map(len, rounds)) < n:
            rounds.append(rng.permutation(rounds[0]))
        return np.concatenate(rounds)[:n]


def repeats(counts: NDArray[np.intp], rates: NDArray[np.float64], rng: Generator) -> NDArray[np.intp]:
    """Which earlier query of its account each query repeats, its own place for none: (queries,), by accounts.

    Args:
        counts: queries of each account, (accounts,).
        rates: the share of repeats among each one's, (accounts,).
        rng: draws them.
    """
    places = np.arange(int(counts.sum()))
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    ranks = places - firsts
    again = (ranks > 0) & (rng.random(len(places)) < np.repeat(rates, counts))
    return np.where(again, firsts + (rng.random(len(places)) * ranks).astype(np.intp), places)

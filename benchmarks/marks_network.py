"""A plain network: ReLU layers in float32, trained by Adam on rows of probabilities, for ever or stopped early."""

from __future__ import annotations

import copy
import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from counterclone.answers import Rows
from counterclone.queries import Features
from counterclone.randomness import Generator

Array = NDArray[np.float32]
BATCH, RATE, MOMENTUM, SPREAD = 256, 1e-3, 0.9, 0.999


class Network:
    """Layers of a network; inputs are to have about unit variance or less.

    Args:
        weights: of each layer, (inputs, outputs), and then the biases of each, (outputs,).
        rng: draws the batches.
    """

    def __init__(self, parameters: list[Array], rng: Generator) -> None:
        self.parameters = parameters
        self._rng = rng

    @classmethod
    def drawn(cls, sizes: tuple[int, ...], rng: Generator) -> Network:
        """An untrained one (He et al. 2015)."""
        weights = [rng.standard_normal(pair, dtype=np.float32) * np.float32(np.sqrt(2.0 / pair[0]))
                   for pair in itertools.pairwise(sizes)]
        return cls([*weights, *(np.zeros(width, dtype=np.float32) for width in sizes[1:])], rng)

    def copied(self) -> Network:
        """The same, to be changed."""
        return copy.deepcopy(self)

    def answer(self, inputs: Features) -> Rows:
        """Probabilities: (n, classes)."""
        parts = [self._layers(part.astype(np.float32))[-1]
                 for part in np.array_split(inputs, len(inputs) // 8192 + 1)]
        rows: Rows = softmax(np.concatenate(parts).astype(np.float64), axis=1)
        return rows

    def learn(self, inputs: Features, rows: Rows, epochs: int) -> Network:
        """Train in place (Kingma and Ba 2015, algorithm 1)."""
        inputs32, rows32 = inputs.astype(np.float32), rows.astype(np.float32)
        means, squares = ([np.zeros_like(each) for each in self.parameters] for _ in range(2))
        steps = itertools.count(1)
        for _ in range(epochs):
            order = self._rng.permutation(len(inputs32))
            for batch in np.array_split(order, -(-len(order) // BATCH)):
                step = next(steps)
                rate = np.float32(RATE * np.sqrt(1.0 - SPREAD**step) / (1.0 - MOMENTUM**step))
                for place, slope in enumerate(self._slopes(inputs32[batch], rows32[batch])):
                    means[place] += np.float32(1.0 - MOMENTUM) * (slope - means[place])
                    squares[place] += np.float32(1.0 - SPREAD) * (slope * slope - squares[place])
                    self.parameters[place] -= rate * means[place] / (np.sqrt(squares[place]) + np.float32(1e-8))
        return self

    def prune(self, share: float) -> Network:
        """Set that share of each layer's weights to zero, the smallest first, in place."""
        for weights in self.parameters[:len(self.parameters) // 2]:
            weights[np.abs(weights) < np.quantile(np.abs(weights), share)] = 0.0
        return self

    def _layers(self, inputs: Array) -> list[Array]:
        depth = len(self.parameters) // 2
        layers = [inputs]
        for place in range(depth):
            layers.append(layers[-1] @ self.parameters[place] + self.parameters[depth + place])
            if place < depth - 1:
                np.maximum(layers[-1], 0.0, out=layers[-1])
        return layers

    def _slopes(self, inputs: Array, rows: Array) -> list[Array]:
        """The gradient of the mean cross-entropy in each parameter."""
        layers = self._layers(inputs)
        slope = (softmax(layers[-1], axis=1) - rows) / np.float32(len(rows))
        of_weights: list[Array] = []
        of_biases: list[Array] = []
        for place in reversed(range(len(layers) - 1)):
            of_weights.insert(0, layers[place].T @ slope)
            of_biases.insert(0, slope.sum(axis=0))
            if place:
                slope = (slope @ self.parameters[place].T) * (layers[place] > 0.0)
        return of_weights + of_biases

"""A small network of ReLU layers, trained by Adam for a fixed number of steps.

scikit-learn's networks take neither soft labels with cross-entropy nor the gradient with respect to the input, and
count epochs, which under-trains small sets.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from counterclone.answers import Rows
from counterclone.queries import Features
from counterclone.randomness import Generator

Array = NDArray[np.float64]

HIDDEN = (128,)
BATCH = 32
RATE = 3e-3
DECAY = 1e-3
SHAKE = 0.2
"""Normal noise on the inputs of each step, in their own standard deviations."""
MOMENTUM, SPREAD = 0.9, 0.999


class Aims(NamedTuple):
    """What the network is to answer, and how it is told.

    Attributes:
        rows: probabilities, by cross-entropy: (n, classes).
        logs: centred log-probabilities, by squares: (n, classes).
        weight: of the squares, 0 where rows are labels.
    """

    rows: Rows
    logs: Array
    weight: float


class Network:
    """Layers of a network.

    Args:
        weights: of each layer, (inputs, outputs).
        biases: of each layer, (outputs,).
    """

    def __init__(self, weights: list[Array], biases: list[Array]) -> None:
        self.weights = weights
        self.biases = biases

    @classmethod
    def drawn(cls, sizes: tuple[int, ...], rng: Generator) -> Network:
        """An untrained one (He et al. 2015), whose last layer is small."""
        pairs = list(itertools.pairwise(sizes))
        weights = [rng.standard_normal(pair) * np.sqrt(2.0 / pair[0]) for pair in pairs]
        weights[-1] *= 0.1
        return cls(weights, [np.zeros(width) for _, width in pairs])

    def logits(self, inputs: Features) -> Array:
        """(n, classes)."""
        return self._layers(inputs)[-1]

    def answer(self, inputs: Features) -> Rows:
        """Probabilities: (n, classes)."""
        rows: Rows = softmax(self.logits(inputs), axis=1)
        return rows

    def gradient(self, inputs: Features, weights: Array) -> Features:
        """The gradient of a sum of each input's logits, weighted by (n, classes), in the input: (n, features)."""
        return self._backward(self._layers(inputs), weights)[0]

    def _layers(self, inputs: Features) -> list[Array]:
        layers = [inputs]
        for weights, biases in zip(self.weights[:-1], self.biases[:-1], strict=True):
            layers.append(np.maximum(layers[-1] @ weights + biases, 0.0))
        layers.append(layers[-1] @ self.weights[-1] + self.biases[-1])
        return layers

    def _backward(self, layers: list[Array], slope: Array) -> tuple[Array, list[Array]]:
        """The gradient in the inputs, and in the weights and then the biases of each layer."""
        of_weights: list[Array] = []
        of_biases: list[Array] = []
        for place in reversed(range(len(self.weights))):
            of_weights.insert(0, layers[place].T @ slope)
            of_biases.insert(0, slope.sum(axis=0))
            slope = slope @ self.weights[place].T
            if place:
                slope = slope * (layers[place] > 0.0)
        return slope, of_weights + of_biases

    def learn(self, inputs: Features, aims: Aims, steps: int, rng: Generator) -> Network:
        """Train in place, at a rate that falls to zero along a cosine (Kingma and Ba 2015, algorithm 1)."""
        parameters = self.weights + self.biases
        means = [np.zeros_like(each) for each in parameters]
        squares = [np.zeros_like(each) for each in parameters]
        for step, batch in enumerate(_batches(len(inputs), steps, rng), start=1):
            rate = RATE * (0.5 + 0.5 * np.cos(np.pi * step / steps))
            rate *= np.sqrt(1.0 - SPREAD**step) / (1.0 - MOMENTUM**step)
            shaken = inputs[batch] + SHAKE * rng.standard_normal(inputs[batch].shape)
            for place, slope in enumerate(self._slopes(shaken, aims, batch)):
                means[place] += (1.0 - MOMENTUM) * (slope - means[place])
                squares[place] += (1.0 - SPREAD) * (slope * slope - squares[place])
                parameters[place] -= rate * means[place] / (np.sqrt(squares[place]) + 1e-8)
        return self

    def _slopes(self, inputs: Features, aims: Aims, batch: NDArray[np.intp]) -> list[Array]:
        layers = self._layers(inputs)
        logits = layers[-1]
        slope = softmax(logits, axis=1) - aims.rows[batch]
        if aims.weight:
            slope += aims.weight * (logits - logits.mean(axis=1, keepdims=True) - aims.logs[batch])
        slopes = self._backward(layers, slope / len(batch))[1]
        for place, weights in enumerate(self.weights):
            slopes[place] += DECAY * weights
        return slopes


def trained(inputs: Features, aims: Aims, steps: int, rng: Generator) -> Network:
    """A network with one hidden layer.

    Args:
        inputs: scaled to about unit variance, (n, features).
        aims: what it is to answer.
        steps: of Adam, whatever n is.
        rng: draws its start, its batches and its noise.
    """
    network = Network.drawn((inputs.shape[1], *HIDDEN, aims.rows.shape[1]), rng)
    return network.learn(inputs, aims, steps, rng)


def _batches(n: int, steps: int, rng: Generator) -> list[NDArray[np.intp]]:
    """Places for each step; every input comes once before one comes twice."""
    size = min(n, BATCH)
    rounds = -(-steps * size // n)
    order = np.concatenate([rng.permutation(n) for _ in range(rounds + 1)])
    return [order[step * size:(step + 1) * size] for step in range(steps)]

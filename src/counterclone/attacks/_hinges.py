"""Hinges: what a network with one hidden layer of ReLU neurons is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lstsq
from scipy.special import softmax

from counterclone.answers import Rows
from counterclone.attacks._box import Box
from counterclone.queries import Features, Inputs

Values = NDArray[np.float64]
"""Centred logits: (n, classes)."""


@dataclass(frozen=True)
class Hinges:
    """Neurons up to the linear part that tells on which side of each it is active.

    Attributes:
        weights: of unit length, (neurons, features).
        biases: (neurons,).
        outputs: what each adds to the logits, (neurons, classes).
    """

    weights: NDArray[np.float64]
    biases: NDArray[np.float64]
    outputs: NDArray[np.float64]

    @classmethod
    def none(cls, n_features: int, n_classes: int) -> Hinges:
        """Of a linear model."""
        return cls(np.empty((0, n_features)), np.empty(0), np.empty((0, n_classes)))

    def __len__(self) -> int:
        return len(self.biases)

    def with_one(self, weights: NDArray[np.float64], bias: float, outputs: NDArray[np.float64]) -> Hinges:
        """These and another: (features,), a number, (classes,)."""
        return Hinges(np.vstack([self.weights, weights]), np.append(self.biases, bias),
                      np.vstack([self.outputs, outputs]))

    def activations(self, coordinates: Features) -> NDArray[np.float64]:
        """(n, neurons)."""
        return np.maximum(coordinates @ self.weights.T + self.biases, 0.0)

    def values(self, coordinates: Features) -> Values:
        """What they add up to: (n, classes)."""
        total: Values = self.activations(coordinates) @ self.outputs
        return total


class OneLayer:
    """A network with one hidden layer, and a linear part beside it.

    Args:
        box: its inputs are coordinates of it.
        hinges: the neurons.
        linear: weights and intercepts, (features + 1, classes).
        is_verified: whether it was found exact on queries that it wasn't fitted to.
    """

    def __init__(self, box: Box, hinges: Hinges, linear: NDArray[np.float64], *,
                 is_verified: bool = False) -> None:
        self._box = box
        self._linear = linear
        self.hinges = hinges
        self.is_verified = is_verified

    @classmethod
    def fitted(cls, box: Box, hinges: Hinges, coordinates: Features, values: Values) -> OneLayer:
        """The network whose outputs fit best, of neurons that are known: least squares.

        Args:
            box: of the inputs.
            hinges: the neurons; their outputs are fitted anew.
            coordinates: what was asked, (n, features).
            values: what was answered, (n, classes).
        """
        terms = np.hstack([hinges.activations(coordinates), coordinates, np.ones((len(coordinates), 1))])
        found = lstsq(terms, values)[0]
        return cls(box, replace(hinges, outputs=found[:len(hinges)]), found[len(hinges):])

    def verified(self) -> OneLayer:
        """The same, found exact."""
        return OneLayer(self._box, self.hinges, self._linear, is_verified=True)

    def values(self, coordinates: Features) -> Values:
        """Centred logits: (n, classes)."""
        values: Values = self.hinges.values(coordinates) + coordinates @ self._linear[:-1] + self._linear[-1]
        return values

    def logits(self, inputs: Inputs) -> Values:
        """Centred logits of inputs as the target gets them: (n, classes)."""
        return self.values(self._box.coordinates(np.asarray(inputs, dtype=np.float64)))

    def answer(self, inputs: Inputs) -> Rows:
        """Probabilities: (queries, classes)."""
        rows: Rows = softmax(self.logits(inputs), axis=1)
        return rows

"""Regions of the deployment's inputs, to say how much of them an attack's queries touched."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from counterclone.encoders import Vectors, encode_features, encode_texts
from counterclone.queries import Inputs
from counterclone.randomness import generator

N_REGIONS = 100


class Regions:
    """Cells around inputs of the deployment: a query touches the one whose centre is nearest.

    Args:
        inputs: of the deployment; a hundred of them, drawn evenly, are the centres.
    """

    def __init__(self, inputs: Inputs) -> None:
        drawn = generator(0, "regions").permutation(len(inputs))[:N_REGIONS]
        self._centres = _vectors(inputs)[drawn]
        self._touched = np.zeros(len(self._centres), dtype=np.bool_)

    def touch(self, inputs: Inputs) -> None:
        """Note the cells of a batch."""
        vectors = _vectors(inputs)
        distances = (self._centres**2).sum(axis=1) - 2.0 * vectors @ self._centres.T
        nearest: NDArray[np.intp] = distances.argmin(axis=1)
        self._touched[nearest] = True

    @property
    def coverage(self) -> float:
        """The share of cells that were touched."""
        return float(self._touched.mean())


def _vectors(inputs: Inputs) -> Vectors:
    return encode_texts(inputs) if isinstance(inputs, list) else encode_features(inputs)

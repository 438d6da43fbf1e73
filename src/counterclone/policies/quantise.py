"""Release coarser embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from counterclone.answers import FLOAT_BITS, Context
from counterclone.plugins import Spec
from counterclone.speech import Speech, Vectors


class Quantise(Spec, frozen=True):
    """Round each number of an embedding to multiples of `step`, relative to the embedding's length.

    A student of an encoder regresses its vectors; neighbours and their order, which is what honest callers want,
    bear much coarser ones (Liu et al. 2022, StolenEncoder). Keyed noise is the same for the same input whoever
    asks, and the grid behind it is as coarse, so that neither repeats nor comparisons within a cell take it off.
    Fewer `dimensions` suit encoders that were trained for it (Matryoshka); others lose more.

    Attributes:
        step: the grid's step, for an embedding of length 1.
        noise: whether normal noise with a standard deviation of `step` is added before.
        dimensions: how many leave, the first ones, at their old length; 0 for all.
    """

    step: Annotated[float, Meta(ge=1e-6, le=0.5)] = 0.0078125
    noise: bool = False
    dimensions: Annotated[int, Meta(ge=0)] = 0

    edits: ClassVar[frozenset[str]] = frozenset({"vectors"})
    quantises: ClassVar[bool] = True

    @property
    def adds_noise(self) -> bool:
        """Whether it adds keyed noise."""
        return self.noise

    @property
    def value_bits(self) -> float:
        """Which step, for numbers no larger than the embedding's length, which itself is told once."""
        return min(math.log2(2.0 / self.step + 1.0), float(FLOAT_BITS))

    def open(self, context: Context) -> Coarse:
        """Begin one answer."""
        return Coarse(self, context)

    def coarsen(self, vectors: Vectors, normals: NDArray[np.float64] | None) -> Vectors:
        """Vectors on the grid: (rows, dimensions)."""
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        lengths[lengths == 0.0] = 1.0
        if 0 < self.dimensions < vectors.shape[1]:
            vectors = vectors[:, :self.dimensions]
            own = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = vectors * np.divide(lengths, own, out=np.ones_like(own), where=own > 0.0)
        # Lengths are told in as few digits, else they would tell of each number what the grid hides.
        lengths = np.exp(np.rint(np.log(lengths) / self.step) * self.step)
        steps = vectors / (lengths * self.step)
        if normals is not None:
            steps = steps + normals[:, :steps.shape[1]]
        coarse: Vectors = np.rint(steps) * (lengths * self.step) + 0.0
        return coarse


class Coarse:
    """One answer's embeddings, row after row."""

    __slots__ = ("_context", "_n_fed", "_spec")

    def __init__(self, spec: Quantise, context: Context) -> None:
        self._spec = spec
        self._context = context
        self._n_fed = 0

    def feed(self, speech: Speech) -> Speech:
        """The embeddings on the grid."""
        vectors = speech.vectors
        if vectors is None:
            return speech
        normals = None
        if self._spec.noise:
            cells = self._context.cells[self._n_fed:self._n_fed + len(vectors)]
            if len(cells) < len(vectors):
                raise ValueError(f"{len(vectors)} embeddings for fewer queries")
            drawn = [self._context.noise.normals(cell, vectors.shape[1]) for cell in cells]
            normals = np.array(drawn).reshape(vectors.shape)
        self._n_fed += len(vectors)
        return speech._replace(vectors=self._spec.coarsen(vectors, normals))

    def finish(self) -> Mapping[str, str]:
        """Nothing is held back."""
        return {}

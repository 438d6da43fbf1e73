"""Queries that aren't like those that the target usually answers so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors import _whitened
from counterclone.detectors._geometry import (
    LONGEST,
    STEPS,
    Buckets,
    Scaling,
    class_means,
    measurable,
    with_vectors,
)
from counterclone.detectors._sample import salt_of
from counterclone.encoders import VECTOR_SIZE
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States
from counterclone.randomness import generator

FREQUENCIES = 128

_TURN_BITS = 18
_TABLE_BITS = 12
_ANGLES = np.arange(1 << _TABLE_BITS) * (2.0 * np.pi / (1 << _TABLE_BITS))
_UNIT = 2.0**-12
_COSINES = np.rint(np.cos(_ANGLES) / _UNIT).astype(np.int32)


class Residual(Spec, frozen=True):
    """Mean random features of the queries, minus those of the classes that were answered, whitened.

    Random Fourier features make two crowds' means differ wherever their densities do (Rahimi and Recht 2007;
    Gretton et al. 2012). An honest account has classes of its own, so each query is compared with the honest
    ones that the target answered alike. 128 frequencies, half of them at the median distance of honest queries
    and half at half of it. It sees inputs of another kind than the target's, and those near them; inputs from
    honest people's own distribution leave nothing to see.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    words: ClassVar[str] = "aren't like those of other accounts that get the same answers"

    def start(self, reference: Exchanges) -> _whitened.Whitened:
        """Begin with what honest accounts asked.

        Raises:
            WatchError: too few queries with vectors, or too few accounts.
        """
        return _whitened.fit(_Features.fit(reference), reference)


@dataclass(frozen=True)
class _Features:
    scaling: Scaling
    buckets: Buckets
    frequencies: NDArray[np.float32]
    phases: NDArray[np.int32]
    means: NDArray[np.int32]
    size: ClassVar[int] = FREQUENCIES
    unit: ClassVar[float] = _UNIT

    @classmethod
    def fit(cls, reference: Exchanges) -> _Features:
        part = measurable(reference)
        scaling, buckets = Scaling.fit(part.vectors), Buckets.fit(part.labels)
        steps = scaling(part.vectors)
        rng = generator(int(salt_of(reference.digests, 0)), "residual")
        one, other = rng.integers(len(steps), size=(2, 4096))
        bandwidth = max(float(np.median(np.linalg.norm(steps[one] - steps[other], axis=1))), float(STEPS))
        widths = np.repeat([bandwidth, bandwidth / 2.0], FREQUENCIES // 2)
        frequencies = rng.standard_normal((VECTOR_SIZE, FREQUENCIES)) * (2.0**_TURN_BITS / (2.0 * np.pi)) / widths
        lengths = np.linalg.norm(frequencies, axis=0)
        frequencies = np.rint(frequencies * np.minimum(1.0, (LONGEST - VECTOR_SIZE) / lengths)).astype(np.float32)
        phases = rng.integers(1 << _TURN_BITS, size=FREQUENCIES).astype(np.int32)
        features = _cosines(steps, frequencies, phases)
        means = np.rint(class_means(features, buckets(part.labels), buckets.size)).astype(np.int32)
        return cls(scaling, buckets, frequencies, phases, means)

    def add(self, states: States, exchanges: Exchanges) -> NDArray[np.intp]:
        rows = with_vectors(exchanges)
        values = _cosines(self.scaling(exchanges.vectors[rows]), self.frequencies, self.phases)
        values -= self.means[self.buckets(exchanges.labels[rows])]
        _whitened.add_rows(states, exchanges.accounts[rows], values)
        return rows


def _cosines(steps: NDArray[np.float32], frequencies: NDArray[np.float32], phases: NDArray[np.int32],
             ) -> NDArray[np.int32]:
    """Cosines in steps of 2**-12: (n, 64) to (n, frequencies)."""
    angles = (steps @ frequencies).astype(np.int32)
    angles += phases
    angles >>= _TURN_BITS - _TABLE_BITS
    angles &= (1 << _TABLE_BITS) - 1
    cosines: NDArray[np.int32] = _COSINES.take(angles)
    return cosines

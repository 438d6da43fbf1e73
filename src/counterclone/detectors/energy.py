"""How much of a query lies where honest queries hardly vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors import _whitened
from counterclone.detectors._bins import Bins
from counterclone.detectors._geometry import Geometry, measurable, with_vectors
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

SHARES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 0.998)
"""Of a class's honest queries below each edge."""


class Energy(Spec, frozen=True):
    """A histogram of the share of a query's energy in the directions of small variance, whitened.

    Energy is the squared distance from the answered class's mean; the directions are the half along which
    honest queries of a class vary least. Steps along a gradient's signs, as substitutes are trained with, and
    mixtures of inputs put other shares there than natural inputs do (Papernot et al. 2017). It can't see
    inputs from honest people's own distribution.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    words: ClassVar[str] = "vary in directions in which other accounts' hardly do, or too little there"

    def start(self, reference: Exchanges) -> _whitened.Whitened:
        """Begin with what honest accounts asked.

        Raises:
            WatchError: too few queries with vectors, or too few accounts.
        """
        part = measurable(reference)
        geometry = Geometry.fit(part)
        buckets = geometry.buckets(part.labels)
        bins = Bins.fit(_shares(geometry, part), buckets, geometry.buckets.size, SHARES)
        return _whitened.fit(_Energies(geometry, bins), reference)


@dataclass(frozen=True)
class _Energies:
    geometry: Geometry
    bins: Bins
    unit: ClassVar[float] = 1.0

    @property
    def size(self) -> int:
        return self.bins.size

    def add(self, states: States, exchanges: Exchanges) -> NDArray[np.intp]:
        rows = with_vectors(exchanges)
        part = exchanges.select(rows)
        bins = self.bins(_shares(self.geometry, part), self.geometry.buckets(part.labels))
        _whitened.add_bins(states, part.accounts, bins)
        return rows


def _shares(geometry: Geometry, part: Exchanges) -> NDArray[np.float32]:
    """How much of the energy is in the directions of small variance, each in its own unit: (n,)."""
    energies = geometry.energies(part)
    half = geometry.n_varying // 2
    leading, trailing = energies[:, :half].sum(axis=1), energies[:, half:].sum(axis=1)
    shares: NDArray[np.float32] = trailing / (leading + trailing + np.float32(1.0))
    return shares

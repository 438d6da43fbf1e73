"""How much of a query lies where honest queries hardly vary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors import _bins, _whitened
from counterclone.detectors._geometry import Geometry, measurable, with_vectors
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

SHARES = np.array([0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 0.998])


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
        geometry = Geometry.fit(reference)
        shares = _shares(geometry, measurable(reference))
        return _whitened.fit(_Energies(geometry, _bins.quantiles(shares, SHARES)), reference)


@dataclass(frozen=True)
class _Energies:
    geometry: Geometry
    edges: NDArray[np.float32]
    unit: ClassVar[float] = 1.0

    @property
    def size(self) -> int:
        return len(self.edges) + 1

    def add(self, states: States, exchanges: Exchanges) -> None:
        part = exchanges.select(with_vectors(exchanges))
        bins = np.searchsorted(self.edges, _shares(self.geometry, part), side="right")
        _whitened.add_bins(states, part.accounts, bins)


def _shares(geometry: Geometry, part: Exchanges) -> NDArray[np.float32]:
    """The logarithm of the trailing directions' energy over the leading ones', each in its own unit: (n,)."""
    sixteenths = np.rint(geometry.deviations(part) * np.float32(16.0)).clip(-512.0, 512.0)
    squares = sixteenths**2
    half = squares.shape[1] // 2
    leading, trailing = squares[:, :half].sum(axis=1), squares[:, half:].sum(axis=1)
    shares: NDArray[np.float32] = trailing / (leading + trailing + np.float32(1.0))
    return shares

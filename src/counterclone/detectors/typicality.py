"""How far queries lie from the class that the target answers."""

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

SHARES = np.array([0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98, 0.998])
"""Of the reference below each edge: a bin for unusually near queries and two for unusually far ones."""


class Typicality(Spec, frozen=True):
    """A histogram of the queries' Mahalanobis distances to the class that was answered, whitened.

    Bins hold given shares of the reference. It sees inputs that the target puts into a class where they don't
    belong, of another kind or made, within a few queries; and inputs that are all too typical. It can't see
    inputs from honest people's own distribution.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    words: ClassVar[str] = "lie farther from their classes, or nearer, than other accounts' do"

    def start(self, reference: Exchanges) -> _whitened.Whitened:
        """Begin with what honest accounts asked.

        Raises:
            WatchError: too few queries with vectors, or too few accounts.
        """
        geometry = Geometry.fit(reference)
        distances = _distances(geometry, measurable(reference))
        return _whitened.fit(_Typicalities(geometry, _bins.quantiles(distances, SHARES)), reference)


@dataclass(frozen=True)
class _Typicalities:
    geometry: Geometry
    edges: NDArray[np.float32]
    unit: ClassVar[float] = 1.0

    @property
    def size(self) -> int:
        return len(self.edges) + 1

    def add(self, states: States, exchanges: Exchanges) -> None:
        part = exchanges.select(with_vectors(exchanges))
        bins = np.searchsorted(self.edges, _distances(self.geometry, part), side="right")
        _whitened.add_bins(states, part.accounts, bins)


def _distances(geometry: Geometry, part: Exchanges) -> NDArray[np.float32]:
    """Squared Mahalanobis distances to the answered class, in whole steps of 1/256, exact: (n,)."""
    sixteenths = np.rint(geometry.deviations(part) * np.float32(16.0)).clip(-512.0, 512.0)
    distances: NDArray[np.float32] = (sixteenths**2).sum(axis=1)
    return distances

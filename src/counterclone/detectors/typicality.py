"""How far queries lie from the class that the target answers."""

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

SHARES = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98, 0.998)
"""Of a class's honest queries below each edge: a bin for unusually near ones, and two for unusually far ones."""


class Typicality(Spec, frozen=True):
    """A histogram of the queries' Mahalanobis distances to the class that was answered, whitened.

    Bins hold given shares of each class's honest queries. It sees inputs that the target puts into a class where
    they don't belong, of another kind or made, within a few queries; and inputs that are all too typical. It
    can't see inputs from honest people's own distribution.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    words: ClassVar[str] = "lie farther from their classes, or nearer, than other accounts' do"

    def start(self, reference: Exchanges) -> _whitened.Whitened:
        """Begin with what honest accounts asked.

        Raises:
            WatchError: too few queries with vectors, or too few accounts.
        """
        part = measurable(reference)
        geometry = Geometry.fit(part)
        buckets = geometry.buckets(part.labels)
        bins = Bins.fit(_distances(geometry, part), buckets, geometry.buckets.size, SHARES)
        return _whitened.fit(_Typicalities(geometry, bins), reference)


@dataclass(frozen=True)
class _Typicalities:
    geometry: Geometry
    bins: Bins
    unit: ClassVar[float] = 1.0

    @property
    def size(self) -> int:
        return self.bins.size

    def add(self, states: States, exchanges: Exchanges) -> NDArray[np.intp]:
        rows = with_vectors(exchanges)
        part = exchanges.select(rows)
        bins = self.bins(_distances(self.geometry, part), self.geometry.buckets(part.labels))
        _whitened.add_bins(states, part.accounts, bins)
        return rows


def _distances(geometry: Geometry, part: Exchanges) -> NDArray[np.float32]:
    """Squared Mahalanobis distances to the answered class, times 256: (n,)."""
    distances: NDArray[np.float32] = geometry.energies(part).sum(axis=1)
    return distances

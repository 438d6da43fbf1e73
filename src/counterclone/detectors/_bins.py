"""Bins of given shares of a reference, class by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from counterclone.errors import WatchError

LEAST_VALUES = 100
"""Fewer make no quantiles; a class with fewer is cut as everybody."""


@dataclass(frozen=True)
class Bins:
    """Edges between bins of values, for each class its own: that a class is unlike others is no account's doing.

    Attributes:
        edges: ascending, (buckets, edges); a value that equals an edge lies above it.
    """

    edges: NDArray[np.float32]

    @classmethod
    def fit(cls, values: NDArray[np.float32], buckets: NDArray[np.intp], n_buckets: int,
            shares: tuple[float, ...]) -> Self:
        """Of honest exchanges.

        Args:
            values: (n,).
            buckets: of their classes, (n,).
            n_buckets: how many there are.
            shares: of the values, that lie below each edge; edges that tie become one.

        Raises:
            WatchError: there are too few values, or they are all the same.
        """
        if len(values) < LEAST_VALUES:
            raise WatchError(f"the reference has {len(values)} exchanges that can be measured, expected "
                             f"{LEAST_VALUES} or more; give it more of your users' traffic")
        overall = _quantiles(values, np.array(shares))
        kept = np.diff(overall, prepend=values.min()) > 0.0
        if not kept.any():
            raise WatchError("all the reference's exchanges measure the same; take this detector out")
        edges = np.tile(overall[kept], (n_buckets, 1))
        for bucket in np.flatnonzero(np.bincount(buckets, minlength=n_buckets) >= LEAST_VALUES).tolist():
            edges[bucket] = _quantiles(values[buckets == bucket], np.array(shares)[kept])
        return cls(edges)

    @property
    def size(self) -> int:
        """How many bins."""
        return int(self.edges.shape[1]) + 1

    def __call__(self, values: NDArray[np.float32], buckets: NDArray[np.intp]) -> NDArray[np.intp]:
        """Each value's bin: (n,)."""
        bins: NDArray[np.intp] = (values[:, np.newaxis] >= self.edges[buckets]).sum(axis=1)
        return bins


def _quantiles(values: NDArray[np.float32], shares: NDArray[np.float64]) -> NDArray[np.float32]:
    quantiles: NDArray[np.float32] = np.quantile(values, shares, method="inverted_cdf").astype(np.float32)
    return quantiles

"""Bins of equal shares of a reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from counterclone.errors import WatchError

LEAST_VALUES = 100
"""Fewer make no quantiles."""


def quantiles(values: NDArray[np.float32], shares: NDArray[np.float64]) -> NDArray[np.float32]:
    """The edges between bins, ascending and without ties: at most one for each share.

    Args:
        values: the reference's, (n,).
        shares: of the reference, that lie below each edge.

    Raises:
        WatchError: there are too few values, or they are all the same.
    """
    if len(values) < LEAST_VALUES:
        raise WatchError(f"the reference has {len(values)} exchanges that this detector can measure, expected "
                         f"{LEAST_VALUES} or more; give it more of your users' traffic, or take the detector out")
    # Edges are values of the reference, and what equals an edge lies above it: an edge at the least value
    # would have nothing below.
    edges: NDArray[np.float32] = np.unique(np.quantile(values, shares, method="inverted_cdf").astype(np.float32))
    edges = edges[edges > values.min()]
    if not len(edges):
        raise WatchError("all the reference's exchanges measure the same; take this detector out")
    return edges

"""Queries outside the range that honest ones keep to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors import _whitened
from counterclone.detectors._geometry import Scaling, measurable, with_vectors
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

BINS = 8
"""No coordinate outside, 1, 2 to 3, 4 to 7, ... 32 to 63, 64."""


class Range(Spec, frozen=True):
    """A histogram of how many of a query's coordinates lie outside 99.8 % of the honest ones, whitened.

    It sees inputs far outside the deployment's range, as exact recovery needs them, within a few queries, and
    noise. It can't see anything that keeps to the range.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    words: ClassVar[str] = "have values that other accounts' hardly ever have"

    def start(self, reference: Exchanges) -> _whitened.Whitened:
        """Begin with the range of what honest accounts asked.

        Raises:
            WatchError: too few queries with vectors, or too few accounts.
        """
        scaling = Scaling.fit(measurable(reference).vectors)
        return _whitened.fit(_Outside(scaling.low, scaling.high), reference)


@dataclass(frozen=True)
class _Outside:
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    size: ClassVar[int] = BINS
    unit: ClassVar[float] = 1.0

    def add(self, states: States, exchanges: Exchanges) -> NDArray[np.intp]:
        rows = with_vectors(exchanges)
        vectors = exchanges.vectors[rows]
        counts = ((vectors < self.low) | (vectors > self.high)).sum(axis=1)
        bins = np.frexp(counts)[1].astype(np.intp)  # 0, then one more for each doubling
        _whitened.add_bins(states, exchanges.accounts[rows], bins)
        return rows

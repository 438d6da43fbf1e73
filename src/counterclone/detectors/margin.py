"""How sure the target is of what it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors import _whitened
from counterclone.detectors._bins import Bins
from counterclone.detectors._geometry import Buckets
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

SHARES = (0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of a class's honest answers below each edge."""


class Margin(Spec, frozen=True):
    """A histogram of the answers' margins, whitened.

    A margin is the top probability minus the second. Inputs that aren't the target's kind, inputs near its
    boundaries and inputs chosen for them show themselves in its answers, whatever the inputs are. Bins hold given
    shares of each class's honest answers. It can't see a copier whose inputs the target is as sure of as of
    anybody's.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"margins"})
    words: ClassVar[str] = "leave the target less sure, or surer, than other accounts' do"

    def start(self, reference: Exchanges) -> _whitened.Whitened:
        """Begin with the margins of honest accounts.

        Raises:
            WatchError: too few accounts or margins, or margins that are all the same.
        """
        part = reference.select(~np.isnan(reference.margins))
        buckets = Buckets.fit(part.labels)
        bins = Bins.fit(part.margins, buckets(part.labels), buckets.size, SHARES)
        return _whitened.fit(_Margins(buckets, bins), reference)


@dataclass(frozen=True)
class _Margins:
    buckets: Buckets
    bins: Bins
    unit: ClassVar[float] = 1.0

    @property
    def size(self) -> int:
        return self.bins.size

    def add(self, states: States, exchanges: Exchanges) -> NDArray[np.intp]:
        rows = np.flatnonzero(~np.isnan(exchanges.margins))
        bins = self.bins(exchanges.margins[rows], self.buckets(exchanges.labels[rows]))
        _whitened.add_bins(states, exchanges.accounts[rows], bins)
        return rows

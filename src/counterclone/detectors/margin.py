"""How sure the target is of what it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors import _bins, _whitened
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

BINS = 10


class Margin(Spec, frozen=True):
    """A histogram of the answers' margins, whitened.

    A margin is the top probability minus the second. Inputs that aren't the target's kind, inputs near its
    boundaries and inputs chosen for them show themselves in its answers, whatever the inputs are. Bins hold
    equal shares of the reference. It can't see a copier whose inputs the target is as sure of as of anybody's.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"margins"})
    words: ClassVar[str] = "leave the target less sure, or surer, than other accounts' do"

    def start(self, reference: Exchanges) -> _whitened.Whitened:
        """Begin with the margins of honest accounts.

        Raises:
            WatchError: too few accounts, or margins that are all the same.
        """
        margins = reference.margins[~np.isnan(reference.margins)]
        return _whitened.fit(_Margins(_bins.quantiles(margins, np.arange(1, BINS) / BINS)), reference)


@dataclass(frozen=True)
class _Margins:
    edges: NDArray[np.float32]
    unit: ClassVar[float] = 1.0

    @property
    def size(self) -> int:
        return len(self.edges) + 1

    def add(self, states: States, exchanges: Exchanges) -> None:
        known = np.flatnonzero(~np.isnan(exchanges.margins))
        bins = np.searchsorted(self.edges, exchanges.margins[known], side="right")
        _whitened.add_bins(states, exchanges.accounts[known], bins)

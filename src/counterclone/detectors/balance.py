"""Which classes an account gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors import _whitened
from counterclone.detectors._geometry import Buckets
from counterclone.errors import WatchError
from counterclone.exchanges import NO_LABEL, Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

_LEAST = 1e-6


class Balance(Spec, frozen=True):
    """A histogram of the target's labels, whitened: unlike all others', or too much like their mean.

    Many classes share 32 bins. Copiers tend to ask about all classes, people about few; but whoever evaluates
    the target on a test set asks about all of them too, and is no copier. Where such accounts are in the
    reference it sees next to nothing, where they aren't it raises alarms on them: use it where you know that
    nobody evaluates.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels"})
    words: ClassVar[str] = "are spread over the classes like no other account's"

    def start(self, reference: Exchanges) -> Evenness:
        """Begin with the labels that honest accounts got.

        Raises:
            WatchError: too few accounts, or all labels are the same.
        """
        labels = np.unique(reference.labels[reference.labels != NO_LABEL])
        if len(labels) < 2:
            raise WatchError("the reference's exchanges don't have two labels; take this detector out")
        tracker = _whitened.fit(_Labels(Buckets.fit(reference.labels)), reference)
        return Evenness(tracker.measure, tracker.spread)


class Evenness(_whitened.Whitened):
    """A tracker that finds an account strange that has no taste at all."""

    def score(self, states: States) -> NDArray[np.float64]:
        """The mean square of the coordinates or its inverse, whichever is larger; NaN under 5 exchanges: (n,)."""
        squares = super().score(states)
        return np.maximum(squares, 1.0 / np.maximum(squares, _LEAST))


@dataclass(frozen=True)
class _Labels:
    buckets: Buckets
    unit: ClassVar[float] = 1.0

    @property
    def size(self) -> int:
        return self.buckets.size

    def add(self, states: States, exchanges: Exchanges) -> NDArray[np.intp]:
        known = np.flatnonzero(exchanges.labels != NO_LABEL)
        _whitened.add_bins(states, exchanges.accounts[known], self.buckets(exchanges.labels[known]))
        return known

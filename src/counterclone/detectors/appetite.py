"""How much an account has itself told at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors import _whitened
from counterclone.detectors._bins import Bins
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

SHARES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 0.998)
"""Of the honest answers below each edge."""


class Appetite(Spec, frozen=True):
    """A histogram of the bits that the answers released, whitened.

    A language model's answer tells by its length and by its log-probabilities. Who distils a model gains by
    having all of these with every answer, since shares teach more than labels (Hinton et al. 2015); few honest
    people want any. It can't see who takes text alone, as long as other people's, and nothing at all of targets
    whose answers are all of one size.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    words: ClassVar[str] = "get more told in each answer, or less, than other accounts do"

    def start(self, reference: Exchanges) -> _whitened.Whitened:
        """Begin with what honest accounts were told.

        Raises:
            WatchError: too few accounts or answers, or answers that are all of one size.
        """
        bins = Bins.fit(reference.bits, np.zeros(len(reference), dtype=np.intp), 1, SHARES)
        return _whitened.fit(_Sizes(bins), reference)


@dataclass(frozen=True)
class _Sizes:
    bins: Bins
    unit: ClassVar[float] = 1.0

    @property
    def size(self) -> int:
        return self.bins.size

    def add(self, states: States, exchanges: Exchanges) -> NDArray[np.intp]:
        rows = np.arange(len(exchanges))
        _whitened.add_bins(states, exchanges.accounts, self.bins(exchanges.bits, np.zeros_like(rows)))
        return rows

"""Queries that come again, more or less often than honest ones do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors._measured import MeasuredTracker
from counterclone.detectors._sample import Sample, log_counts, merged, salt_of
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

N_SLOTS = 128


class Repetition(Spec, frozen=True):
    """How often the very same queries come again.

    Honest people ask some things again, a few often and most never; who averages out noise asks everything again
    and equally often, and who works off a pool nothing. How often a query comes on average, and how
    unevenly, in a sample of 128 different ones is compared with honest accounts' at as many queries. One
    account without repeats proves little, since a third of honest ones have none in 26 queries. Near repeats
    are for `spacing`.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    words: ClassVar[str] = "repeat each other more often or more evenly than honest ones do, or less"

    def start(self, reference: Exchanges) -> MeasuredTracker:
        """Begin, with how often honest queries come again."""
        return MeasuredTracker.fit(Repeats(Sample(N_SLOTS, salt_of(reference.digests, 1))), reference)


@dataclass(frozen=True)
class Repeats:
    """Exchanges (1 column) and a sample of their digests (128)."""

    sample: Sample

    def empty(self, n: int) -> States:
        """Summaries of accounts that did nothing: (n, 129)."""
        return np.zeros((n, 1 + N_SLOTS), dtype=np.int64)

    def learn(self, states: States, exchanges: Exchanges) -> None:
        """Add exchanges, in place."""
        np.add.at(states[:, 0], exchanges.accounts, 1)  # the table may be far larger than the batch
        self.sample.learn(digests(states), exchanges.accounts, exchanges.digests)

    def merge(self, states: States, others: States) -> States:
        """The summaries of both: (n, 129)."""
        return np.hstack([states[:, :1] + others[:, :1], merged(digests(states), digests(others))])

    def figures(self, states: States) -> NDArray[np.float64]:
        """Mean and spread of the logarithm of how often a digest comes: (n, 2)."""
        return log_counts(digests(states))


def digests(states: States) -> States:
    """The samples of digests alone, as a view, for `_sample.shared`: (n, 128)."""
    return states[:, 1:]

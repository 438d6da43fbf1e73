"""Queries that come again, exactly or nearly, more or less than honest ones do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors._cells import FEWEST_VECTORS, Cells, has_vector
from counterclone.detectors._measured import MeasuredTracker
from counterclone.detectors._sample import Sample, log_counts, merged, salt_of
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

N_SLOTS = 128

_EXACT = slice(1, 1 + N_SLOTS)
_NEAR = slice(1 + N_SLOTS, 1 + 2 * N_SLOTS)
_N_PROJECTIONS, _WIDTH = 8, 0.5


class Repetition(Spec, frozen=True):
    """How often queries come again, exactly (digests) and nearly (cells of the vectors).

    Honest people ask some things again. Who averages out noise asks everything again, who jitters, augments or
    steps along gradients asks near things, and who works off a pool asks nothing again. The figures of a
    sample of 128 different queries and of 128 different cells are compared with honest accounts' at as many
    queries. One account without repeats proves little: a third of honest ones have none in 26 queries. What
    is repeated after more change than a quarter of the usual spread isn't seen.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    words: ClassVar[str] = "repeat each other, exactly or nearly, more or less than honest ones do"

    def start(self, reference: Exchanges) -> MeasuredTracker:
        """Begin, with how often honest queries come again."""
        n_vectors = int(has_vector(reference).sum())
        cells = (Cells.fit(reference, n_projections=_N_PROJECTIONS, width=_WIDTH)
                 if n_vectors >= FEWEST_VECTORS else None)
        return MeasuredTracker.fit(Repeats(Sample(N_SLOTS, salt_of(reference.digests, 1)), cells), reference)


@dataclass(frozen=True)
class Repeats:
    """Exchanges (1 column), a sample of digests (128) and one of cells (128).

    Attributes:
        sample: how both are sampled.
        cells: None where the reference has no vectors; then none are sampled.
    """

    sample: Sample
    cells: Cells | None

    def empty(self, n: int) -> States:
        """Summaries of accounts that did nothing: (n, 257)."""
        return np.zeros((n, 1 + 2 * N_SLOTS), dtype=np.int64)

    def learn(self, states: States, exchanges: Exchanges) -> None:
        """Add exchanges, in place."""
        np.add.at(states[:, 0], exchanges.accounts, 1)  # the table may be far larger than the batch
        self.sample.learn(states[:, _EXACT], exchanges.accounts, exchanges.digests)
        if self.cells is not None:
            rows = np.flatnonzero(has_vector(exchanges))
            self.sample.learn(states[:, _NEAR], exchanges.accounts[rows],
                              self.cells.hashes(exchanges.vectors[rows]))

    def merge(self, states: States, others: States) -> States:
        """The summaries of both: (n, 257)."""
        return np.hstack([states[:, :1] + others[:, :1], merged(states[:, 1:], others[:, 1:])])

    def figures(self, states: States) -> NDArray[np.float64]:
        """How often a digest comes on average and how unevenly, as logarithms; the same of cells: (n, 4)."""
        return np.hstack([log_counts(states[:, _EXACT]), log_counts(states[:, _NEAR])])


def digests(states: States) -> States:
    """The samples of digests alone, for comparing accounts: (n, 128)."""
    return states[:, _EXACT]

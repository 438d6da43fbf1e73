"""How many kinds of input an account's queries reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors._cells import Cells, has_vector
from counterclone.detectors._measured import MeasuredTracker
from counterclone.detectors._sample import Sample, log_counts, merged, salt_of
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

N_SLOTS = 128

_N_PROJECTIONS, _WIDTH = 4, 1.0


class Coverage(Spec, frozen=True):
    """How many different coarse cells of the input space queries reach, and how evenly.

    An honest account stays where its interest lies; a copier works through the whole, or through a corner where
    nobody is. Cells are boxes over four random projections, as wide as a projection's standard deviation; a
    sample of 128 of them is compared with honest accounts' at as many queries. An honest evaluator covers as
    much as a copier does.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    words: ClassVar[str] = "spread over more, or fewer, kinds of input than honest ones do"

    def start(self, reference: Exchanges) -> MeasuredTracker:
        """Begin, with how far honest queries spread."""
        cells = Cells.fit(reference, n_projections=_N_PROJECTIONS, width=_WIDTH)
        return MeasuredTracker.fit(Places(Sample(N_SLOTS, salt_of(reference.digests, 2)), cells), reference)


@dataclass(frozen=True)
class Places:
    """Exchanges with a vector (1 column) and a sample of their cells (128)."""

    sample: Sample
    cells: Cells

    def empty(self, n: int) -> States:
        """Summaries of accounts that did nothing: (n, 129)."""
        return np.zeros((n, 1 + N_SLOTS), dtype=np.int64)

    def learn(self, states: States, exchanges: Exchanges) -> None:
        """Add exchanges, in place."""
        rows = np.flatnonzero(has_vector(exchanges))
        accounts = exchanges.accounts[rows]
        np.add.at(states[:, 0], accounts, 1)  # the table may be far larger than the batch
        scaled = self.cells.projection.scaled(exchanges.vectors[rows])
        self.sample.learn(states[:, 1:], accounts, self.cells.hashes(scaled))

    def merge(self, states: States, others: States) -> States:
        """The summaries of both: (n, 129)."""
        return np.hstack([states[:, :1] + others[:, :1], merged(states[:, 1:], others[:, 1:])])

    def figures(self, states: States) -> NDArray[np.float64]:
        """How many cells, how often one comes on average, and how unevenly they come, as logarithms: (n, 3)."""
        samples = states[:, 1:]
        figures = log_counts(samples)
        with np.errstate(divide="ignore"):
            n_cells = np.log(self.sample.distinct(samples))
        return np.column_stack([np.where(np.isnan(figures[:, 0]), np.nan, n_cells), figures])

"""Traffic by the thousand: what detectors learn from, column by column.

An exchange here is one row of a query with its answer. Everything is as the journal keeps it, so what a
live guard learns is what a replay of its journal learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

NO_LABEL = -1

Selection = NDArray[np.intp] | NDArray[np.bool_] | slice


@dataclass(frozen=True, kw_only=True)
class Exchanges:
    """Exchanges of many accounts, in the order of time.

    Attributes:
        accounts: whose they are, numbers from 0, (n,).
        times: seconds since 1970, (n,).
        vectors: the queries as `encoders` has them, NaN in rows that have none, (n, 64).
        labels: the target's labels, -1 where there is none, (n,).
        margins: the target's top probability minus its second, NaN where there is none, (n,).
        digests: equal for equal queries, (n,).
        gaps: seconds since the account's exchange before, NaN for its first, (n,); counted by the one owner of
            an account, so that whatever sums them up needs no order.
        bits: upper bound on the bits that each answer released, (n,).
    """

    accounts: NDArray[np.intp]
    times: NDArray[np.float64]
    vectors: NDArray[np.float32]
    labels: NDArray[np.int32]
    margins: NDArray[np.float32]
    digests: NDArray[np.uint64]
    gaps: NDArray[np.float32]
    bits: NDArray[np.float32]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.accounts)

    @property
    def n_accounts(self) -> int:
        """One more than the largest number of an account."""
        return int(self.accounts.max()) + 1 if len(self) else 0

    def select(self, rows: Selection) -> Exchanges:
        """Some of them, in the order of `rows`."""
        return Exchanges(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def of(self, accounts: NDArray[np.intp]) -> Exchanges:
        """Those of some accounts, which are numbered from 0 in the order given."""
        numbers = np.full(max(self.n_accounts, int(accounts.max(initial=-1)) + 1), -1, dtype=np.intp)
        numbers[accounts] = np.arange(len(accounts))
        numbers_of_rows = numbers[self.accounts]
        kept = np.flatnonzero(numbers_of_rows >= 0)
        return self.select(kept).numbered(numbers_of_rows[kept])

    def numbered(self, accounts: NDArray[np.intp]) -> Exchanges:
        """The same with other numbers of accounts, (n,)."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return Exchanges(**{**columns, "accounts": accounts})

    def ranks(self) -> NDArray[np.intp]:
        """How many exchanges of its account come before each, (n,)."""
        order = np.argsort(self.accounts, kind="stable")
        sorted_accounts = self.accounts[order]
        starts = np.flatnonzero(np.diff(sorted_accounts, prepend=-1))
        counts = np.diff(starts, append=len(self))
        ranks = np.empty(len(self), dtype=np.intp)
        ranks[order] = np.arange(len(self)) - np.repeat(starts, counts)
        return ranks


def join(parts: Sequence[Exchanges]) -> Exchanges:
    """Several as one, in the order of time; accounts keep their numbers."""
    columns = {field.name: np.concatenate([getattr(part, field.name) for part in parts])
               for field in fields(Exchanges)}
    order = np.argsort(columns["times"], kind="stable")
    return Exchanges(**{name: column[order] for name, column in columns.items()})

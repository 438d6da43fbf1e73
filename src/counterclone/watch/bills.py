"""What each account spends in a day, at the target's prices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counterclone.budgets import BYTES_PER_TOKEN, DAY, Price

BYTES_PER_NUMBER = 8
"""Of an input, as audits count it."""


class Overspent(NamedTuple):
    """An account passed the amount of a day.

    Attributes:
        account: its id.
        usd: what it spent that day until now.
        queries: rows that it asked, likewise.
    """

    account: str
    usd: float
    queries: int


class Bills:
    """Adds up what accounts spend, and tells once a day who spends much.

    Days are those of UTC. Rows cost what they cost; of tokens, numbers count and texts don't, since the journal
    doesn't know how long they are.

    Attributes:
        price: what callers pay.
        alert_usd: dollars a day; an account that spends more is told of, 0 for none.
    """

    def __init__(self, price: Price = Price(), alert_usd: float = 0.0) -> None:  # noqa: B008 (a constant)
        self.price = price
        self.alert_usd = alert_usd
        self._day = -1
        self._usd: dict[str, float] = {}
        self._queries: dict[str, int] = {}

    def add(self, batch: pa.RecordBatch) -> list[Overspent]:
        """Count a batch of the journal; answers that weren't served cost nothing.

        Returns:
            The accounts that passed the amount just now.
        """
        if not self.alert_usd or not any(self.price):
            return []
        served = batch.filter(pc.less(batch.column("status"), 300))
        if not served.num_rows:
            return []
        self._begin(int(pc.max(served.column("time")).value // 1_000_000 // DAY))
        accounts = served.column("account").dictionary_encode()
        numbers = accounts.indices.to_numpy()
        usd = np.bincount(numbers, weights=self._usd_of(served))
        rows = np.bincount(numbers)
        return [told for account, spent, queries in zip(accounts.dictionary.to_pylist(), usd.tolist(),
                                                        rows.tolist(), strict=True)
                if (told := self._count(account, spent, queries)) is not None]

    def _begin(self, day: int) -> None:
        if day > self._day:
            self._day = day
            self._usd.clear()
            self._queries.clear()

    def _usd_of(self, rows: pa.RecordBatch) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        tokens_in = rows.column("n_features").to_numpy() * (BYTES_PER_NUMBER / BYTES_PER_TOKEN)
        tokens_out = rows.column("n_classes").to_numpy()
        price = self.price
        usd = price.usd_per_query + tokens_in * price.usd_per_token_in + tokens_out * price.usd_per_token_out
        return np.asarray(usd, dtype=np.float64)

    def _count(self, account: str, usd: float, queries: int) -> Overspent | None:
        before = self._usd.get(account, 0.0)
        after = self._usd[account] = before + usd
        self._queries[account] = self._queries.get(account, 0) + queries
        if before <= self.alert_usd < after:
            return Overspent(account, after, self._queries[account])
        return None

"""Limits, budgets and prices: how much of something there may be, and what it costs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

from counterclone.errors import BudgetExhausted

MINUTE = 60.0
DAY = 86_400.0
BYTES_PER_TOKEN = 4


class Limit(NamedTuple):
    """An amount for a period: a burst of `amount` is admitted, and it refills evenly.

    Attributes:
        name: the configuration key that set it, as callers read it in a refusal.
        unit: what is counted, `queries` or `bits`.
        amount: units for each period.
        period_seconds: the period.
    """

    name: str
    unit: str
    amount: float
    period_seconds: float

    @property
    def seconds_per_unit(self) -> float:
        """The time in which one unit refills."""
        return self.period_seconds / self.amount

    def admits(self, seconds: float) -> float:
        """The units that an account gets in a time, the burst at its beginning included."""
        return self.amount * (1.0 + seconds / self.period_seconds)

    def seconds_to(self, units: float) -> float:
        """The least time in which an account gets so many units."""
        return max(units - self.amount, 0.0) * self.seconds_per_unit


COPY_SHARE = "limit_copy_share_per_day"


def copy_limit(share: float, queries: int) -> Limit:
    """The limit that admits a part of a copy in a day; one that admits no query at all would be a switch.

    Args:
        share: of the copy.
        queries: that the copy takes.
    """
    return Limit(COPY_SHARE, "queries", max(share * queries, 1.0), DAY)


class Pace(NamedTuple):
    """How fast limits let something be asked.

    Attributes:
        days: that one account needs.
        accounts: that ask it in a day.
    """

    days: float
    accounts: int


def pace(queries: float, limits: Sequence[Limit]) -> Pace:
    """The least time of one account, and the fewest accounts in a day, within limits on queries.

    Args:
        queries: that are to be asked.
        limits: of each account; at least one.
    """
    in_a_day = min(limit.admits(DAY) for limit in limits)
    return Pace(max(limit.seconds_to(queries) for limit in limits) / DAY, math.ceil(queries / in_a_day))


class Price(NamedTuple):
    """What a caller pays.

    Attributes:
        usd_per_query: dollars a row.
        usd_per_token_in: dollars a token of a query; four bytes count as one.
        usd_per_token_out: dollars a token of an answer; each of its numbers counts as one.
    """

    usd_per_query: float = 0.0
    usd_per_token_in: float = 0.0
    usd_per_token_out: float = 0.0


class Meter:
    """Counts what is asked, and stops it at a budget.

    Args:
        budget: queries (rows) that may be asked.
        price: of what is asked.

    Attributes:
        queries: rows that were asked.
        calls: batches that were asked.
        bytes: of the rows that were asked, as numbers of 64 bits or as UTF-8.
        numbers: that were answered.
        repeats: rows that had been asked before, to the bit.
    """

    def __init__(self, budget: int, price: Price = Price()) -> None:  # noqa: B008 (a constant)
        self.budget = budget
        self.queries = self.calls = self.bytes = self.numbers = self.repeats = 0
        self._price = price
        self._seen: set[bytes] = set()

    @property
    def left(self) -> int:
        """Rows that may still be asked."""
        return self.budget - self.queries

    @property
    def usd(self) -> float:
        """Dollars that were spent."""
        price = self._price
        return (self.queries * price.usd_per_query + self.bytes / BYTES_PER_TOKEN * price.usd_per_token_in
                + self.numbers * price.usd_per_token_out)

    def admit(self, rows: Sequence[bytes]) -> None:
        """Count a batch, each row as bytes.

        Raises:
            BudgetExhausted: the budget doesn't reach for all of it; nothing was counted.
        """
        if len(rows) > self.left:
            raise BudgetExhausted(f"{len(rows)} queries were asked with {self.left} of {self.budget} left")
        self.queries += len(rows)
        self.calls += 1
        self.bytes += sum(map(len, rows))
        before = len(self._seen)
        self._seen.update(hashlib.blake2b(row, digest_size=8).digest() for row in rows)
        self.repeats += len(rows) - (len(self._seen) - before)

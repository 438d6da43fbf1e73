"""Limits: an amount of something for a period of time."""

from __future__ import annotations

from typing import NamedTuple

MINUTE = 60.0
DAY = 86_400.0


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

"""A campaign's level over nights that follow each other: every search spends a part of what may be spent.

A search each night at the whole level would raise a false alarm sooner or later. Of a year's allowance, each night
gets a share fixed beforehand, so the chance of any false alarm in a year is at most the sum of the shares (a union
bound: nights may depend on each other as they like, and they do, since accounts live on). Shares follow the
calendar: a night that is searched late may spend what its quiet days saved.

For watches without an end, `night_level` gives the k-th search 6 / (pi^2 k^2) of all there is: valid for ever, and
ever blinder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from counterclone.watch.levels import ACCOUNTS_SHARE, DAYS_PER_YEAR

LARGEST_LEVEL = 0.01
"""However many false alarms are asked for, and however long the last search is ago, a search spends no more."""


def search_level(false_alarms_per_year: float, days_since: float) -> float:
    """The p-value at which a search raises an alarm, so that the campaigns' half of the rate holds: 0 to 0.01.

    Args:
        false_alarms_per_year: of the whole fleet, accounts included.
        days_since: the search before, or since the first exchange.
    """
    share = false_alarms_per_year * (1.0 - ACCOUNTS_SHARE) * max(days_since, 0.0) / DAYS_PER_YEAR
    return min(share, LARGEST_LEVEL)


def night_level(total: float, night: int) -> float:
    """What the k-th search, from 1, may spend of a total that must last for ever.

    Raises:
        ValueError: nights count from 1.
    """
    if night < 1:
        raise ValueError(f"nights count from 1, got {night}")
    return total * 6.0 / (math.pi**2 * night**2)


@dataclass
class Purse:
    """What campaigns' searches have spent; saved with whatever remembers the nights.

    Attributes:
        false_alarms_per_year: of the whole fleet.
        last_time: of the last search, seconds since 1970; None before the first.
    """

    false_alarms_per_year: float
    last_time: float | None = None

    def spend(self, time: float, first_time: float) -> float:
        """The level of a search at a time, whose days are then spent: a clock that jumps back gives nothing twice.

        Args:
            time: seconds since 1970.
            first_time: of the first exchange that is searched, which the first search counts from.
        """
        since = first_time if self.last_time is None else self.last_time
        self.last_time = max(time, since)
        return search_level(self.false_alarms_per_year, (time - since) / 86_400.0)

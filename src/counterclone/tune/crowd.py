"""Honest accounts as they asked: whom a limit would have refused, and how fast they go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterclone.budgets import Limit
from counterclone.protocols import Detector
from counterclone.randomness import Prf
from counterclone.statistics import Interval, proportion
from counterclone.stores.memory import SLACK
from counterclone.watch.honest import Honest

RISKS = (0.5, 0.8, 0.95, 1.0)
"""Bars of tiers; at the last an account raises an alarm."""


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Honest traffic, and the watch that compares with it.

    Attributes:
        honest: the accounts.
        detectors: what accounts are compared by.
        false_alarms_per_year: of the whole fleet.
        key: says which accounts do what in the watch.
        risks: bars that are looked at, rising to an alarm's.
    """

    honest: Honest
    detectors: Sequence[Detector]
    false_alarms_per_year: float
    key: Prf
    risks: Sequence[float] = RISKS

    def __len__(self) -> int:
        """Ordinary accounts, those without a class of their own."""
        return sum(not kind for kind in self.honest.kinds)

    def limited(self, limit: Limit) -> Interval:
        """The share of ordinary accounts that a limit on queries would have refused at least once."""
        exchanges = self.honest.exchanges
        order = np.argsort(exchanges.accounts, kind="stable")
        ends = np.cumsum(np.bincount(exchanges.accounts, minlength=len(self.honest)))
        times = np.split(exchanges.times[order], ends[:-1])
        refused = sum(_is_refused(own, limit) for own, kind in zip(times, self.honest.kinds, strict=True)
                      if not kind)
        return proportion(refused, len(self))


def _is_refused(times: NDArray[np.float64], limit: Limit) -> bool:
    """Whether an account is refused at least once that asks a row at each of these times, which rise.

    Up to the first refusal everything was admitted, and then its arrival time after k rows (see the guard's
    limits) is the latest of what each row's own time, with all rows from it on, comes to.
    """
    if len(times) <= limit.amount:
        return False
    rows = np.arange(len(times))
    arrivals = limit.seconds_per_unit * (rows + 1) + np.maximum.accumulate(times - limit.seconds_per_unit * rows)
    return bool((arrivals - times > limit.period_seconds * (1.0 + SLACK)).any())

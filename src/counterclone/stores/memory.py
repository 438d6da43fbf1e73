"""Limits by the generic cell rate algorithm (GCRA), counted in one process.

One number is kept for each account and limit, by the limit's name, since limits may change while the guard
runs: the theoretical arrival time, at which everything taken so far has refilled (ITU-T I.371, virtual
scheduling). An account whose times all lie in the past is as good as
new, so it is forgotten without loss.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from counterclone.budgets import Limit
from counterclone.errors import LimitExceeded

SWEPT_PER_ARRIVAL = 2
"""Entries looked at when a new account arrives; two keep the table no longer than the busy accounts."""
SLACK = 1e-6
"""Part of the period by which rounding may make the last of a burst look too early."""


class MemoryStore:
    """Counts limits in memory; right for one process, which the guard makes sure of.

    Args:
        clock: seconds that never go back.
    """

    trouble = ""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._arrivals: OrderedDict[str, dict[str, float]] = OrderedDict()

    def __len__(self) -> int:
        """Accounts that are remembered."""
        return len(self._arrivals)

    def reserve(self, account: str, limits: Sequence[Limit], costs: Sequence[float]) -> None:
        """Take `costs` from `limits`, all or none.

        Raises:
            LimitExceeded: one of them hasn't enough left; nothing was taken. Of several, the longest wait.
        """
        now = self._clock()
        arrivals = self._arrivals.get(account)
        if arrivals is None:
            arrivals = self._arrive(account, now)
        else:
            self._arrivals.move_to_end(account)
        taken: dict[str, float] = {}
        refusals: list[LimitExceeded] = []
        for limit, cost in zip(limits, costs, strict=True):
            arrival = arrivals.get(limit.name, now)
            time_after = (arrival if arrival > now else now) + cost * limit.seconds_per_unit
            wait = time_after - now - limit.period_seconds
            if wait > SLACK * limit.period_seconds:
                refusals.append(exceeded(limit, cost, wait))
            taken[limit.name] = time_after
        if refusals:
            raise max(refusals, key=_wait)
        arrivals.update(taken)

    def settle(self, account: str, limits: Sequence[Limit], costs: Sequence[float]) -> None:
        """Give back (negative) or take on top (positive) once the true cost is known; never refuses."""
        now = self._clock()
        arrivals = self._arrivals.get(account)
        if arrivals is None:
            arrivals = self._arrive(account, now)
        for limit, cost in zip(limits, costs, strict=True):
            arrival = arrivals.get(limit.name, now)
            # A charge counts from now, so that it doesn't matter whether an idle account was forgotten.
            since = max(arrival, now) if cost > 0.0 else arrival
            arrivals[limit.name] = since + cost * limit.seconds_per_unit

    def close(self) -> None:
        """Nothing to do: what is counted goes with the process."""

    def _arrive(self, account: str, now: float) -> dict[str, float]:
        """A new account; a look at the oldest ones, which go if nothing of theirs is left to refill."""
        for _ in range(min(SWEPT_PER_ARRIVAL, len(self._arrivals))):
            oldest, arrivals = self._arrivals.popitem(last=False)
            if max(arrivals.values(), default=now) > now:
                self._arrivals[oldest] = arrivals
        fresh = self._arrivals[account] = {}
        return fresh


def exceeded(limit: Limit, cost: float, wait: float) -> LimitExceeded:
    """What a caller over a limit is told, who would have to wait so many seconds."""
    if cost > limit.amount:
        message = (f"{limit.name} admits {limit.amount:g} {limit.unit} at most and this request asks for "
                   f"{cost:g}; send it in parts")
        return _refusal(message, limit, None)
    message = (f"over {limit.name} ({limit.amount:g} {limit.unit}); wait {wait:.1f} seconds, or ask the "
               "API's owner for more")
    return _refusal(message, limit, wait)


def _wait(refusal: LimitExceeded) -> float:
    return math.inf if refusal.retry_after_seconds is None else refusal.retry_after_seconds


def _refusal(message: str, limit: Limit, wait: float | None) -> LimitExceeded:
    return LimitExceeded(message, limit=limit.name, quota=limit.amount,
                         period_seconds=limit.period_seconds, retry_after_seconds=wait)

"""Limits of many guards at the price of one's own memory: each leases a slice and spends it by itself.

A request that a slice covers asks nobody. What isn't used goes back after a while, so that the guards together
never admit more than a limit, and keep at most a slice each from those who ask elsewhere (leases: Gray and
Cheriton 1989). Where the server is away, each admits its part of every limit, and charges it once it is back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice, takewhile
from weakref import WeakValueDictionary

from counterclone.budgets import Limit
from counterclone.errors import StoreUnavailable
from counterclone.stores.memory import MemoryStore, exceeded
from counterclone.stores.shared import Ask, Refusal, SharedLimits

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
OWING_MAX = 100_000
"""Accounts whose requests are charged later; those of more than so many aren't."""
SETTLED_AT_ONCE = 500
"""Accounts; what was under way as the server went isn't sent again, so nothing is ever charged twice."""


class LeasedStore:
    """Counts limits in one place for many guards.

    One event loop uses it.

    Args:
        shared: the count.
        lease: the part of a limit that is leased at once; 0 takes each request's own cost.
        lease_seconds: a slice that wasn't used so long goes back.
        parts: processes that share the limits; where the count can't be reached each admits such a part.
        clock: seconds that never go back.
    """

    def __init__(self, shared: SharedLimits, *, lease: float, lease_seconds: float, parts: int,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._lease = lease
        self._lease_seconds = lease_seconds
        self._parts = parts
        self._clock = clock
        self._slices: OrderedDict[str, _Slice] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._own = MemoryStore(clock)
        self._owed: dict[str, dict[Limit, float]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self.trouble = ""

    def __len__(self) -> int:
        """Accounts of which a slice is held."""
        return len(self._slices)

    def reserve(self, account: str, limits: Sequence[Limit], costs: Sequence[float]) -> Awaitable[None] | None:
        """Take `costs` from `limits`, all or none; what it returns is to be awaited.

        Raises:
            LimitExceeded: one of them hasn't enough left; nothing was taken.
        """
        if self._spends(account, limits, costs):
            return None
        if self.trouble:
            self._take_own(account, limits, costs)
            return None
        return self._extend(account, limits, costs)

    def settle(self, account: str, limits: Sequence[Limit], costs: Sequence[float]) -> None:
        """Give back (negative) or take on top (positive) once the true cost is known; never refuses."""
        self._slice(account).add(limits, [-cost for cost in costs], self._clock())

    def close(self) -> None:
        """Give all slices back, as far as the server answers."""
        if self._keeper is not None:
            self._keeper.cancel()
        unused = {account: each.charges() for account, each in self._slices.items()}
        self._slices.clear()
        try:
            if unused:
                self._shared.settle_at_end(unused)
        except StoreUnavailable as error:
            logger.warning("store: %s; what was leased and not used refills with time", error)

    def _spends(self, account: str, limits: Sequence[Limit], costs: Sequence[float]) -> bool:
        slice_ = self._slices.get(account)
        if slice_ is None or not slice_.covers(limits, costs):
            return False
        slice_.add(limits, [-cost for cost in costs], self._clock())
        self._slices.move_to_end(account)
        return True

    async def _extend(self, account: str, limits: Sequence[Limit], costs: Sequence[float]) -> None:
        """Lease more, unless another request has by the time that it is this one's turn."""
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._keep())
        async with self._locks.setdefault(account, asyncio.Lock()):
            if self._spends(account, limits, costs):
                return
            slice_ = self._slice(account)
            asks = [Ask(limit, need := max(cost - slice_.left(limit), 0.0), max(need, self._lease * limit.amount))
                    for limit, cost in zip(limits, costs, strict=True)]
            try:
                taken = await self._shared.take(account, asks)
            except StoreUnavailable as error:
                self._fall_back(error)
                self._take_own(account, limits, costs)
                return
            if isinstance(taken, Refusal):
                cost = next(cost for limit, cost in zip(limits, costs, strict=True) if limit == taken.limit)
                raise exceeded(taken.limit, cost, taken.wait_seconds)
            gained = [units - cost for units, cost in zip(taken, costs, strict=True)]
            self._slice(account).add(limits, gained, self._clock())

    def _take_own(self, account: str, limits: Sequence[Limit], costs: Sequence[float]) -> None:
        """Take from this process's part, and remember it for the count."""
        own = [limit._replace(amount=limit.amount / self._parts) for limit in limits]
        self._own.reserve(account, own, costs)
        if account in self._owed or len(self._owed) < OWING_MAX:
            owed = self._owed.setdefault(account, {})
            for limit, cost in zip(limits, costs, strict=True):
                owed[limit] = owed.get(limit, 0.0) + cost

    def _slice(self, account: str) -> _Slice:
        slice_ = self._slices.get(account)
        if slice_ is None:
            slice_ = self._slices[account] = _Slice(self._clock())
        self._slices.move_to_end(account)
        return slice_

    def _fall_back(self, error: StoreUnavailable) -> None:
        if not self.trouble:
            logger.error("store: %s; this process admits 1/%d of every limit until it is back", error, self._parts)
        self.trouble = f"{error}; each process admits its part of every limit"

    async def _keep(self) -> None:
        """Give idle slices back, and look for the server where it is away; close its connections at the end."""
        task = asyncio.current_task()
        try:
            while task and not task.cancelling():  # the client's timeouts may swallow the cancellation itself
                await asyncio.sleep(RETRY_SECONDS)
                try:
                    if self.trouble:
                        await self._return()
                    else:
                        await self._give_back_idle()
                except StoreUnavailable as error:
                    self._fall_back(error)
        finally:
            await self._shared.disconnect()

    async def _return(self) -> None:
        """Charge what was admitted meanwhile, then lease again."""
        await self._shared.ping()
        while self._owed:
            await self._shared.settle({account: self._owed.pop(account)
                                       for account in list(islice(self._owed, SETTLED_AT_ONCE))})
        self.trouble, self._own = "", MemoryStore(self._clock)
        logger.warning("store: reached again; limits are shared from here on")

    async def _give_back_idle(self) -> None:
        until = self._clock() - self._lease_seconds
        while idle := list(islice(takewhile(lambda each: each[1].used_at <= until, self._slices.items()),
                                  SETTLED_AT_ONCE)):
            for account, _ in idle:
                del self._slices[account]
            await self._shared.settle({account: charges for account, slice_ in idle
                                       if (charges := slice_.charges())})


class _Slice:
    """What a process may spend of an account's limits, below zero for what it took on top."""

    __slots__ = ("_units", "used_at")

    def __init__(self, now: float) -> None:
        self._units: dict[Limit, float] = {}
        self.used_at = now

    def left(self, limit: Limit) -> float:
        return self._units.get(limit, 0.0)

    def covers(self, limits: Sequence[Limit], costs: Sequence[float]) -> bool:
        units = self._units
        return all(cost <= units.get(limit, 0.0) for limit, cost in zip(limits, costs, strict=True))

    def add(self, limits: Sequence[Limit], units: Sequence[float], now: float) -> None:
        self.used_at = now
        for limit, more in zip(limits, units, strict=True):
            self._units[limit] = self._units.get(limit, 0.0) + more

    def charges(self) -> dict[Limit, float]:
        """What brings the count to where it is without this slice."""
        return {limit: -units for limit, units in self._units.items() if units}

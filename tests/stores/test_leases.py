from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.stores.conftest import with_limits

from counterclone.budgets import DAY, Limit
from counterclone.errors import LimitExceeded
from counterclone.stores.leases import LeasedStore
from counterclone.stores.memory import MemoryStore
from counterclone.stores.shared import SharedLimits
from counterclone.testing.redis_server import Server

WORKERS = 4
LEASE = 0.05


def a_day(amount: float, name: str = "limit_queries_per_day") -> Limit:
    """So long that nothing refills in a test."""
    return Limit(name, "queries", amount, DAY)


def leased(limits: SharedLimits, *, lease: float = LEASE, lease_seconds: float = 60.0,
           parts: int = WORKERS) -> LeasedStore:
    return LeasedStore(limits, lease=lease, lease_seconds=lease_seconds, parts=parts)


async def is_admitted(store: LeasedStore | MemoryStore, limits: Sequence[Limit], costs: Sequence[float],
                      account: str = "a") -> bool:
    try:
        if (reserving := store.reserve(account, limits, costs)) is not None:
            await reserving
    except LimitExceeded:
        return False
    return True


async def eventually(store: LeasedStore, limits: Sequence[Limit], costs: Sequence[float]) -> bool:
    """Whether it is admitted within five seconds."""
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        if await is_admitted(store, limits, costs):
            return True
        await asyncio.sleep(0.05)
    return False


EVENT = st.tuples(st.sampled_from("ab"), st.integers(0, 4), st.integers(-4, 4))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(EVENT, max_size=20), lease=st.sampled_from([0.0, 0.3]))
def test_one_process_admits_what_its_own_memory_would(server: Server, events: list[tuple[str, int, int]],
                                                      lease: float) -> None:
    server.clear()
    both = [a_day(7.0), a_day(9.0, "limit_tokens_per_day")]

    async def trial(limits: SharedLimits) -> None:
        store, memory = leased(limits, lease=lease), MemoryStore()
        for account, cost, settled in events:
            costs = [cost, cost]
            fits = await is_admitted(memory, both, costs, account)
            assert await is_admitted(store, both, costs, account) == fits
            if fits:
                for each in (store, memory):
                    each.settle(account, both, [max(settled, -cost)] * 2)
        store.close()

    with_limits(server.url, trial)


def test_workers_together_admit_the_limit_and_keep_a_lease_each_at_most(server: Server) -> None:
    limit = [a_day(1000.0)]

    async def trial(limits: SharedLimits) -> None:
        stores = [leased(limits) for _ in range(WORKERS)]
        admitted = 0
        for number in range(1500):
            admitted += await is_admitted(stores[number * number % WORKERS], limit, [1.0])
        assert 1000 - WORKERS * LEASE * 1000 <= admitted <= 1000

    with_limits(server.url, trial)


def test_requests_that_come_together_share_a_lease(server: Server) -> None:
    async def trial(limits: SharedLimits) -> None:
        store = leased(limits)
        found = await asyncio.gather(*(is_admitted(store, [a_day(100.0)], [1.0]) for _ in range(150)))
        assert sum(found) == 100

    with_limits(server.url, trial)


def test_a_request_that_a_slice_covers_asks_nobody(server: Server) -> None:
    async def trial(limits: SharedLimits) -> None:
        store = leased(limits)
        assert await is_admitted(store, [a_day(100.0)], [1.0])
        for _ in range(4):
            assert store.reserve("a", [a_day(100.0)], [1.0]) is None

    with_limits(server.url, trial)


def test_who_is_over_a_limit_is_told_what_memory_would_tell(server: Server) -> None:
    async def trial(limits: SharedLimits) -> None:
        store, memory, limit = leased(limits), MemoryStore(), [a_day(10.0)]
        told = []
        for cost in (10.0, 2.0, 11.0):
            for each in (store, memory):
                try:
                    if (reserving := each.reserve("a", limit, [cost])) is not None:
                        await reserving
                except LimitExceeded as error:
                    told.append((str(error)[:30], error.limit, error.quota, error.retry_after_seconds is None))
        assert told[0::2] == told[1::2]
        assert len(told) == 4

    with_limits(server.url, trial)


def test_a_slice_that_nobody_uses_goes_back(server: Server) -> None:
    async def trial(limits: SharedLimits) -> None:
        idle, busy = leased(limits, lease=0.5, lease_seconds=0.1), leased(limits, lease=0.0)
        assert await is_admitted(idle, [a_day(10.0)], [1.0])
        assert not await is_admitted(busy, [a_day(10.0)], [9.0])
        assert await eventually(busy, [a_day(10.0)], [9.0])

    with_limits(server.url, trial)


def test_what_is_settled_above_a_slice_is_charged(server: Server) -> None:
    async def trial(limits: SharedLimits) -> None:
        one, other, limit = leased(limits, lease=0.0), leased(limits, lease=0.0), [a_day(10.0)]
        assert await is_admitted(one, limit, [2.0])
        one.settle("a", limit, [6.0])
        one.close()
        assert not await is_admitted(other, limit, [3.0])
        assert await is_admitted(other, limit, [2.0])

    with_limits(server.url, trial)


def test_a_stop_gives_everything_back(server: Server) -> None:
    async def trial(limits: SharedLimits) -> None:
        one, other = leased(limits, lease=0.5), leased(limits)
        assert await is_admitted(one, [a_day(10.0)], [1.0])
        one.close()
        assert await is_admitted(other, [a_day(10.0)], [9.0])

    with_limits(server.url, trial)


def test_a_killed_server_fails_nobody_and_is_found_again(mortal: Server) -> None:
    limit = [a_day(400.0)]

    async def trial(limits: SharedLimits) -> None:
        store = leased(limits, lease=0.01)
        assert await is_admitted(store, limit, [4.0])
        mortal.kill()
        assert sum([await is_admitted(store, limit, [1.0]) for _ in range(300)]) == 400 / WORKERS
        assert "each process admits its part" in store.trouble
        mortal.start()
        until = time.monotonic() + 5.0
        while store.trouble and time.monotonic() < until:
            await asyncio.sleep(0.05)
        assert not store.trouble
        # the server lost its own count with its life; what was admitted meanwhile is charged to the new one
        assert sum([await is_admitted(store, limit, [1.0]) for _ in range(500)]) == 400 - 400 / WORKERS

    with_limits(mortal.url, trial)


def test_a_server_that_is_cut_off_is_charged_what_was_admitted_meanwhile(mortal: Server) -> None:
    limit = [a_day(400.0)]

    async def trial(limits: SharedLimits) -> None:
        store, other = leased(limits, lease=0.01), leased(limits, lease=0.01)
        assert await is_admitted(store, limit, [4.0])
        mortal.pause()
        assert sum([await is_admitted(store, limit, [1.0]) for _ in range(50)]) == 50
        mortal.go_on()
        until = time.monotonic() + 5.0
        while store.trouble and time.monotonic() < until:
            await asyncio.sleep(0.05)
        assert not store.trouble
        admitted = sum([await is_admitted(other, limit, [1.0]) for _ in range(500)])
        # what the server did for the request that had stopped waiting is lost with it, a lease at the most
        assert 400 - 4 - 50 - 2 * 4 <= admitted <= 400 - 4 - 50

    with_limits(mortal.url, trial)


def test_a_server_that_says_nothing_costs_one_short_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async def trial(limits: SharedLimits) -> None:
            store = leased(limits)
            started = time.monotonic()
            assert all([await is_admitted(store, [a_day(400.0)], [1.0]) for _ in range(50)])
            assert time.monotonic() - started < 2.0
            store.close()

        with_limits(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", trial)


def test_the_slices_in_memory_are_those_of_who_asked_just_now(server: Server) -> None:
    async def trial(limits: SharedLimits) -> None:
        store = leased(limits, lease_seconds=0.1)
        for number in range(1200):
            assert await is_admitted(store, [a_day(100.0)], [1.0], f"{number}")
        assert len(store) > 0
        assert len(store) > 0
        until = time.monotonic() + 5.0
        while len(store) and time.monotonic() < until:
            await asyncio.sleep(0.05)
        assert len(store) == 0

    with_limits(server.url, trial)


@pytest.mark.parametrize("lease", [0.0, 0.05])
def test_accounts_have_limits_of_their_own(server: Server, lease: float) -> None:
    async def trial(limits: SharedLimits) -> None:
        store = leased(limits, lease=lease)
        assert [await is_admitted(store, [a_day(2.0)], [2.0], account) for account in "abba"] == [
            True, True, False, False]

    with_limits(server.url, trial)

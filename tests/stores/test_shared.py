from __future__ import annotations

import asyncio
import time

import pytest
from tests.stores.conftest import with_limits

from counterclone.budgets import DAY, Limit
from counterclone.errors import ConfigError, StoreUnavailable
from counterclone.stores.shared import Ask, Refusal, SharedLimits
from counterclone.testing.redis_server import Server

A_DAY = Limit("limit_queries_per_day", "queries", 10.0, DAY)
A_MINUTE = Limit("limit_queries_per_minute", "queries", 4.0, 60.0)


def test_it_takes_what_is_needed_and_a_lot_where_there_is_one(server: Server) -> None:
    async def trial(limits: SharedLimits) -> None:
        assert await limits.take("a", [Ask(A_DAY, 1.0, 6.0)]) == pytest.approx([6.0])
        assert await limits.take("a", [Ask(A_DAY, 1.0, 6.0)]) == pytest.approx([4.0], abs=1e-3)
        refused = await limits.take("a", [Ask(A_DAY, 2.0, 6.0)])
        assert isinstance(refused, Refusal)
        assert refused.limit == A_DAY
        assert refused.wait_seconds == pytest.approx(0.2 * DAY, rel=1e-3)
        assert await limits.take("b", [Ask(A_DAY, 10.0, 0.0)]) == pytest.approx([10.0])

    with_limits(server.url, trial)


def test_of_several_limits_it_takes_from_all_or_none(server: Server) -> None:
    async def trial(limits: SharedLimits) -> None:
        both = [Ask(A_DAY, 3.0, 0.0), Ask(A_MINUTE, 3.0, 0.0)]
        assert await limits.take("a", both) == pytest.approx([3.0, 3.0])
        refused = await limits.take("a", both)
        assert isinstance(refused, Refusal)
        assert refused.limit == A_MINUTE
        assert await limits.take("a", [Ask(A_DAY, 7.0, 0.0)]) == pytest.approx([7.0])

    with_limits(server.url, trial)


def test_what_is_given_back_can_be_taken_again_and_a_charge_cannot(server: Server) -> None:
    async def trial(limits: SharedLimits) -> None:
        await limits.take("a", [Ask(A_DAY, 10.0, 0.0)])
        await limits.settle({"a": {A_DAY: -4.0}, "b": {A_DAY: 9.0}})
        assert await limits.take("a", [Ask(A_DAY, 4.0, 0.0)]) == pytest.approx([4.0])
        assert isinstance(await limits.take("b", [Ask(A_DAY, 2.0, 0.0)]), Refusal)
        limits.settle_at_end({"b": {A_DAY: -9.0}})
        assert await limits.take("b", [Ask(A_DAY, 10.0, 0.0)]) == pytest.approx([10.0])

    with_limits(server.url, trial)


def test_it_refills_by_the_servers_clock_and_forgets_who_has_refilled(server: Server) -> None:
    quick = Limit("quick", "queries", 10.0, 0.2)

    async def trial(limits: SharedLimits) -> None:
        await limits.take("a", [Ask(quick, 10.0, 0.0)])
        assert isinstance(await limits.take("a", [Ask(quick, 9.0, 0.0)]), Refusal)
        await asyncio.sleep(0.25)
        assert await limits.take("a", [Ask(quick, 10.0, 0.0)]) == pytest.approx([10.0])
        await asyncio.sleep(0.3)

    with_limits(server.url, trial)
    assert server.keys() == []


def test_two_at_once_never_take_more_than_there_is(server: Server) -> None:
    async def trial(limits: SharedLimits) -> None:
        found = await asyncio.gather(*(limits.take("a", [Ask(A_DAY, 1.0, 0.0)]) for _ in range(40)))
        assert sum(not isinstance(each, Refusal) for each in found) == 10

    with_limits(server.url, trial)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere/redis.sock"])
def test_a_server_that_is_not_there_is_told_at_once(url: str) -> None:
    async def trial(limits: SharedLimits) -> None:
        for ask in (limits.ping(), limits.take("a", [Ask(A_DAY, 1.0, 0.0)]), limits.settle({"a": {A_DAY: 1.0}})):
            with pytest.raises(StoreUnavailable):
                await ask
        with pytest.raises(StoreUnavailable):
            limits.settle_at_end({"a": {A_DAY: 1.0}})

    started = time.monotonic()
    with_limits(url, trial)
    assert time.monotonic() - started < 5.0


def test_an_address_that_is_none_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="expected redis://host"):
        SharedLimits("http://127.0.0.1:6379")

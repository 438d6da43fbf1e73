"""Limits that many guards share, counted in a Valkey or Redis server by its own clock.

The generic cell rate algorithm as in memory, in one Lua script, so that nobody comes between looking and taking.
An account's times are one hash; its name is a hash tag, so that a cluster keeps it in one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import redis
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from counterclone.budgets import Limit
from counterclone.errors import ConfigError, StoreUnavailable
from counterclone.stores.memory import SLACK

TIMEOUT_SECONDS = 0.5
"""Longer than a server beside us ever takes; a caller who waits for a limit waits no longer."""
MAX_CONNECTIONS = 32

_TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local arrivals, granted, longest, refused = {}, {}, 0, 0
for i = 1, #ARGV / 5 do
  local name, per_unit, period = ARGV[5 * i - 4], tonumber(ARGV[5 * i - 3]), tonumber(ARGV[5 * i - 2])
  local need, lot = tonumber(ARGV[5 * i - 1]), tonumber(ARGV[5 * i])
  local arrival = math.max(tonumber(redis.call('HGET', KEYS[1], name) or now), now)
  local wait = arrival + need * per_unit - now - period
  if wait > SLACK * period and (refused == 0 or wait > longest) then
    longest, refused = wait, i
  end
  local room = (now + period - arrival) / per_unit
  granted[i] = math.max(need, math.min(lot, room))
  arrivals[i] = arrival + granted[i] * per_unit
end
if refused > 0 then
  return {refused, string.format('%.6f', longest)}
end
local latest = now
local answer = {0}
for i = 1, #granted do
  redis.call('HSET', KEYS[1], ARGV[5 * i - 4], string.format('%.6f', arrivals[i]))
  latest = math.max(latest, arrivals[i])
  answer[i + 1] = string.format('%.17g', granted[i])
end
redis.call('PEXPIRE', KEYS[1], math.ceil((latest - now) * 1000) + 1)
return answer
""".replace("SLACK", repr(SLACK))

_SETTLE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local latest = now
for i = 1, #ARGV / 3 do
  local seconds = tonumber(ARGV[3 * i - 1]) * tonumber(ARGV[3 * i])
  local arrival = tonumber(redis.call('HGET', KEYS[1], ARGV[3 * i - 2]) or now)
  if seconds > 0 then
    arrival = math.max(arrival, now)
  end
  redis.call('HSET', KEYS[1], ARGV[3 * i - 2], string.format('%.6f', arrival + seconds))
end
for _, arrival in ipairs(redis.call('HVALS', KEYS[1])) do
  latest = math.max(latest, tonumber(arrival))
end
redis.call('PEXPIRE', KEYS[1], math.ceil((latest - now) * 1000) + 1)
"""


class Ask(NamedTuple):
    """What is asked of one limit.

    Attributes:
        limit: which.
        need: units without which nothing is taken.
        lot: units that are taken where there are so many.
    """

    limit: Limit
    need: float
    lot: float


class Refusal(NamedTuple):
    """A limit hasn't enough left.

    Attributes:
        limit: which; of several the one with the longest wait.
        wait_seconds: until it would have.
    """

    limit: Limit
    wait_seconds: float


Charges = Mapping[str, Mapping[Limit, float]]
"""Units to take, or to give back where negative, by account and limit."""


class SharedLimits:
    """The count that all guards with one server share.

    Args:
        url: `redis://`, `rediss://` or `unix://`.

    Raises:
        ConfigError: the address can't be one.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            pool = aioredis.BlockingConnectionPool.from_url(
                url, max_connections=MAX_CONNECTIONS, timeout=TIMEOUT_SECONDS, socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 0))
        except ValueError as error:
            raise ConfigError(f"[store] url_env: {error}; expected redis://host:port/number") from None
        self._client = aioredis.Redis(connection_pool=pool)
        self._take = self._client.register_script(_TAKE)
        self._settle = self._client.register_script(_SETTLE)

    async def take(self, account: str, asks: Sequence[Ask]) -> list[float] | Refusal:
        """Take from all limits what is needed, and up to a lot where that is left; or nothing.

        Returns:
            The units taken, (asks,); or why nothing was.

        Raises:
            StoreUnavailable: the server doesn't answer.
        """
        arguments = [each for limit, need, lot in asks for each in (
            limit.name, repr(limit.seconds_per_unit), repr(limit.period_seconds), repr(need), repr(lot))]
        with _reaching():
            refused, *rest = await self._take(keys=[_key(account)], args=arguments)
        if refused:
            return Refusal(asks[refused - 1].limit, float(rest[0]))
        return [float(each) for each in rest]

    async def settle(self, charges: Charges) -> None:
        """Charge accounts what they took elsewhere, or give back what they didn't use; never refuses.

        Raises:
            StoreUnavailable: the server doesn't answer.
        """
        with _reaching():
            async with self._client.pipeline(transaction=False) as pipeline:
                for account, changes in charges.items():
                    await self._settle(keys=[_key(account)], args=_changes(changes), client=pipeline)
                await pipeline.execute()

    def settle_at_end(self, charges: Charges) -> None:
        """The same where no event loop runs any more.

        Raises:
            StoreUnavailable: the server doesn't answer.
        """
        with _reaching(), redis.Redis.from_url(
                self._url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS) as client:
            settle = client.register_script(_SETTLE)
            for account, changes in charges.items():
                settle(keys=[_key(account)], args=_changes(changes))

    async def ping(self) -> None:
        """See whether the server answers.

        Raises:
            StoreUnavailable: it doesn't.
        """
        with _reaching():
            await self._client.ping()

    async def disconnect(self) -> None:
        """Close the connections that nobody uses just now."""
        await self._client.connection_pool.disconnect(inuse_connections=False)


def _key(account: str) -> str:
    return f"counterclone:limits:{{{account}}}"


def _changes(changes: Mapping[Limit, float]) -> list[str]:
    return [each for limit, units in changes.items() for each in (
        limit.name, repr(limit.seconds_per_unit), repr(units))]


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error

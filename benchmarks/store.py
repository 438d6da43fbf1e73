"""Limits that processes count together: what leases cost, how far all together are from a limit, and what a server
that is away changes.

Needs `redis-server`. The cost is a ratio to counting in memory, in the same process and interleaved; the error is
of four processes that ask at once for the same accounts.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import orjson
from prometheus_client import CollectorRegistry

from benchmarks import apps, results
from counterclone import Guard
from counterclone.budgets import DAY, Limit
from counterclone.errors import LimitExceeded
from counterclone.guard import asgi
from counterclone.stores.leases import LeasedStore
from counterclone.stores.shared import SharedLimits
from counterclone.testing.redis_server import Server

WORKERS, LEASE, LEASE_SECONDS = 4, 0.05, 2.0
N_REQUESTS, WARM_UP, ROUNDS, AT_ONCE = 10_000, 2_000, 7, 32
N_ACCOUNTS = 100
"""So that each asks a few requests for every lease, as the limit of 600 a minute lets it."""
TESTED = 20
"""Accounts whose limits are used up."""
A_DAY = Limit("limit_queries_per_day", "queries", 2_000.0, DAY)
TRIES = 700
"""Of each worker for each account: 40 % more than there is."""
LEAST_RATIO, RECOVERY_SECONDS = 0.9, 5.0
BODY = orjson.dumps({"instances": [[i / 16 for i in range(apps.N_FEATURES)]]})
SETTINGS = "[guard]\nlimit_queries_per_minute = 100_000\n[journal]\npath = ''\n"
STORE = "[store]\nurl_env = 'STORE_URL'\n"


def run() -> results.Result:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.start()
        os.environ["STORE_URL"] = server.url
        try:
            rows = [cost(Path(folder)), error(server, LEASE), error(server, 0.0), away(server, "killed"),
                    away(server, "cut off")]
        finally:
            server.kill()
    return results.Result("store", rows)


def row(what: str, value: float, at_least: float | None, at_most: float | None, note: str) -> dict[str, object]:
    return {"what": what, "value": round(value, 4), "at_least": at_least, "at_most": at_most, "note": note}


# What a lease costs

def cost(folder: Path) -> dict[str, object]:
    """Requests a second through the guard, with leases over those with memory."""
    guards = []
    for name, text in (("memory", SETTINGS), ("leases", SETTINGS + STORE)):
        config = folder / name / "counterclone.toml"
        config.parent.mkdir()
        config.write_text(text, encoding="utf-8")
        guards.append(Guard(apps.trivial, config, registry=CollectorRegistry()))

    async def rounds() -> list[float]:
        for guard in guards:
            await serve(guard, WARM_UP)
        found = []
        for _ in range(ROUNDS):
            memory, leases = [await serve(guard, N_REQUESTS) for guard in guards]
            found.append(memory / leases)
        return found

    ratios = asyncio.run(rounds())
    for guard in guards:
        guard.close()
    return row("requests/s with leases over memory", statistics.median(ratios), LEAST_RATIO, None,
               f"of {ROUNDS} rounds: {min(ratios):.3f} to {max(ratios):.3f}")


async def serve(app: asgi.App, n: int) -> float:
    """Seconds that so many requests take, some at once."""
    started = time.perf_counter()

    async def client(number: int) -> None:
        for each in range(n // AT_ONCE):
            await ask(app, b"bench %d" % ((number + each * AT_ONCE) % N_ACCOUNTS))

    await asyncio.gather(*map(client, range(AT_ONCE)))
    return time.perf_counter() - started


async def ask(app: asgi.App, key: bytes) -> None:
    async def receive() -> asgi.Message:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: asgi.Message) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(f"a request was refused: {message}")

    headers = [(b"content-type", b"application/json"), (b"authorization", b"Bearer " + key),
               (b"content-length", b"%d" % len(BODY))]
    await app({"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
               "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 4321), "scheme": "http", "root_path": "",
               "headers": headers, "state": {}, "method": "POST", "path": "/predict",
               "raw_path": b"/predict", "query_string": b""}, receive, send)


# How exact a limit is that four processes share

def error(server: Server, lease: float) -> dict[str, object]:
    server.clear()
    command = [sys.executable, "-m", "benchmarks.store", server.url, str(lease)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(WORKERS)]
    admitted = [json.loads(worker.communicate()[0]) for worker in workers]
    totals = [sum(each) for each in zip(*admitted, strict=True)]
    least = A_DAY.amount * (1.0 - WORKERS * lease)
    note = (f"of {A_DAY.amount:g}, {WORKERS} processes, {TESTED} accounts: {min(totals)} to {max(totals)}; "
            f"a lease each would be {least:g}")
    within = min(totals) >= least and max(totals) <= A_DAY.amount
    name = "strict" if not lease else f"leases of {lease:.0%}"
    return row(f"accounts within the limit and a lease each, {name}", float(within), 1.0, None, note)


async def use_up(url: str, lease: float) -> list[int]:
    """What one process gets of each account."""
    store = LeasedStore(SharedLimits(url), lease=lease, lease_seconds=LEASE_SECONDS, parts=WORKERS)
    admitted = [0] * TESTED
    for _ in range(TRIES):
        for account in range(TESTED):
            admitted[account] += await is_admitted(store, str(account))
    return admitted


async def is_admitted(store: LeasedStore, account: str) -> bool:
    try:
        if (reserving := store.reserve(account, [A_DAY], [1.0])) is not None:
            await reserving
    except LimitExceeded:
        return False
    return True


# A server that is away

class Outage(NamedTuple):
    """What callers saw of it.

    Attributes:
        failed: requests of honest accounts that failed.
        slowest_seconds: what the slowest of them took.
        recovery_seconds: from the server's return to shared limits.
    """

    failed: int
    slowest_seconds: float
    recovery_seconds: float


def away(server: Server, how: str) -> dict[str, object]:
    server.clear()
    found = asyncio.run(outage(server, how))
    return row(f"seconds to recovery, server {how}", found.recovery_seconds, None, RECOVERY_SECONDS,
               f"{found.failed} failed, the slowest took {found.slowest_seconds:.3f} s")


async def outage(server: Server, how: str) -> Outage:
    """Ten seconds of requests, in the third of which the server goes and in the sixth of which it returns."""
    store = LeasedStore(SharedLimits(server.url), lease=LEASE, lease_seconds=LEASE_SECONDS, parts=WORKERS)
    failed, slowest, recovered = 0, 0.0, None
    started, back = time.monotonic(), None
    gone = False
    while (now := time.monotonic()) < started + 10.0:
        if not gone and now > started + 3.0:
            (server.kill if how == "killed" else server.pause)()
            gone = True
        if back is None and now > started + 6.0:
            (server.start if how == "killed" else server.go_on)()
            back = time.monotonic()
        if back is not None and recovered is None and not store.trouble:
            recovered = time.monotonic() - back
        asked = time.monotonic()
        failed += not await is_admitted(store, f"honest {int(now * 100) % 500}")
        slowest = max(slowest, time.monotonic() - asked)
        await asyncio.sleep(0.002)
    return Outage(failed, slowest, float("inf") if recovered is None else recovered)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(asyncio.run(use_up(sys.argv[1], float(sys.argv[2])))))
    else:
        results.show(run())

"""Memory after a million requests of 100,000 accounts: over the next million, the resident size has no slope."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from pathlib import Path

import numpy as np
import orjson
import psutil
from prometheus_client import CollectorRegistry

from benchmarks import apps, results
from counterclone import Guard
from counterclone.guard import asgi
from counterclone.randomness import generator
from counterclone.statistics import slope

N_REQUESTS, N_ACCOUNTS, N_SAMPLES = 2_000_000, 100_000, 100
WARM_UP = 0.5
"""The part of the run in which tables, pools and arenas fill; the slope is taken over the rest."""
PAUSE_REQUESTS, PAUSE_SECONDS = 4_000, 0.06
"""No network slows these requests down; without pauses the journal's buffer would be full all the time."""
CONFIG = """\
[[guard.policy]]
kind = "rounding"
decimals = 2
"""


async def drive(guard: Guard) -> list[tuple[int, float]]:
    """Requests straight into the ASGI app; (requests, resident megabytes).

    Every account asks once at first, so that tables are full; then keys are drawn by Zipf's law.
    """
    rng, process, samples = generator(0, "memory"), psutil.Process(), []
    body = orjson.dumps({"instances": [[i / 16 for i in range(apps.N_FEATURES)]]})
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]

    async def receive() -> asgi.Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: asgi.Message) -> None:
        pass

    each = N_REQUESTS // N_SAMPLES
    keys = np.minimum(rng.zipf(1.1, N_REQUESTS), N_ACCOUNTS)
    keys[:N_ACCOUNTS] = np.arange(1, N_ACCOUNTS + 1)
    for number in range(N_SAMPLES):
        for sent, key in enumerate(keys[number * each:(number + 1) * each].tolist()):
            if sent % PAUSE_REQUESTS == 0:
                await asyncio.sleep(PAUSE_SECONDS)
            scope = {"type": "http", "method": "POST", "path": "/predict", "client": ("127.0.0.1", 1),
                     "headers": [*head, (b"authorization", b"Bearer key-%d" % key)]}
            await guard(scope, receive, send)
        gc.collect()
        samples.append(((number + 1) * each, process.memory_info().rss / 1e6))
    return samples


def run() -> results.Result:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "counterclone.toml")
        path.write_text(CONFIG, encoding="utf-8")
        guard = Guard(apps.trivial, config=path, registry=CollectorRegistry())
        samples = asyncio.run(drive(guard))
        guard.close()
    settled = np.array(samples[int(WARM_UP * len(samples)):])
    fit = slope(settled[:, 0] / 1e6, settled[:, 1])
    return results.Result("memory", [{
        "requests": N_REQUESTS, "accounts": N_ACCOUNTS, "rss_mb_end": round(samples[-1][1], 1),
        "mb_per_million_requests": round(fit.value, 2), "low": round(fit.low, 2), "high": round(fit.high, 2),
        "is_flat": bool(fit.low <= 0.0)}])


if __name__ == "__main__":
    results.show(run())

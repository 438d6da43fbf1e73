"""Honest clients and a copier, who ask servers of one model the same."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import httpx
import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Rows

N_CLIENTS = 20
REPEATS = 20
ROWS_PER_REQUEST = 50
ANSWER_SECONDS = 30.0

Inputs = NDArray[Any]
Ask = Callable[[httpx.Client, str, dict[str, str], Inputs], Rows]
"""One request in the model's format: a client, the server's address, headers and inputs (n, features); to the
answers (n, classes)."""


class Served(NamedTuple):
    """What one server answered: rows to the honest clients and to the copier, repeats, and the median time."""

    honest: Rows
    pool: Rows
    repeats: Rows
    latency_ms: float


def ask(addresses: Sequence[str], one: Ask, honest: Inputs, pool: Inputs) -> list[Served]:
    """Honest clients ask one input at a time, the servers in turn; the copier asks its pool, its first often."""
    rows: list[list[Rows]] = [[] for _ in addresses]
    times: list[list[float]] = [[] for _ in addresses]
    with httpx.Client(timeout=ANSWER_SECONDS) as client:
        for number, row in enumerate(honest):
            key = _key(f"honest-{number % N_CLIENTS}")
            for answers, seconds, address in zip(rows, times, addresses, strict=True):
                started = time.perf_counter()
                answers.append(one(client, address, key, row[None]))
                seconds.append(time.perf_counter() - started)
        key = _key("copier")
        batches = [pool[start:start + ROWS_PER_REQUEST] for start in range(0, len(pool), ROWS_PER_REQUEST)]
        return [
            Served(honest=np.concatenate(answers),
                   pool=np.concatenate([one(client, address, key, batch) for batch in batches]),
                   repeats=np.concatenate([one(client, address, key, pool[:1]) for _ in range(REPEATS)]),
                   latency_ms=1000 * statistics.median(seconds))
            for answers, seconds, address in zip(rows, times, addresses, strict=True)]


def _key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}

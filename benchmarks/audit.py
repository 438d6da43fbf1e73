"""A whole default audit of a digits model, and the driver's part of an attack's time.

The audit takes every attack that fits, with the default budgets and seeds.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks import results
from counterclone import audit, plugins
from counterclone.answers import Reply
from counterclone.budgets import Meter
from counterclone.demo import digits
from counterclone.driver import drive
from counterclone.protocols import Asking, Prior
from counterclone.queries import Inputs
from counterclone.randomness import generator
from counterclone.targets.local import Local

AT_MOST_SECONDS, AT_MOST_SHARE = 180.0, 0.05
SEED = 0
BUDGET = 1000


class Timed:
    """A target and an attack whose own times are counted."""

    def __init__(self, predict: Any) -> None:
        self._target = Local(predict)
        self.seconds = 0.0

    async def query(self, inputs: Inputs) -> Reply:
        started = time.perf_counter()
        reply = await self._target.query(inputs)
        self.seconds += time.perf_counter() - started
        return reply

    def attack(self, asking: Asking) -> Any:
        started = time.perf_counter()
        try:
            inputs = next(asking)
            while True:
                self.seconds += time.perf_counter() - started
                reply = yield inputs
                started = time.perf_counter()
                inputs = asking.send(reply)
        except StopIteration as stop:
            self.seconds += time.perf_counter() - started
            return stop.value


def run() -> results.Result:
    data = digits.load(SEED)
    model = digits.train(data.training, SEED)
    started = time.perf_counter()
    found = audit.run(model.predict_proba, pool=tuple(data.pool), evaluate=tuple(data.honest), say=print)
    seconds = time.perf_counter() - started
    rows: list[dict[str, object]] = [{
        "what": "default audit of a digits network, seconds", "value": round(seconds, 1),
        "at_most": AT_MOST_SECONDS, "trials": len(found.trials)}]
    for kind in ("knockoff", "hard_label", "jacobian"):
        rows.append({"what": f"driver's part of {kind}'s time", "value": round(share(kind, model, data), 4),
                     "at_most": AT_MOST_SHARE, "trials": 1})
    return results.Result("audit", rows)


def share(kind: str, model: Any, data: digits.Digits) -> float:
    """What the driver adds, as a part of what attack and target take."""
    attack: Any = plugins.build("attacks", {"kind": kind}, "benchmark")
    pool = data.pool.pixels
    prior = Prior(budget=BUDGET, pool=pool, classes=digits.N_CLASSES, lower=pool.min(axis=0),
                  upper=pool.max(axis=0))
    timed = Timed(model.predict_proba)
    asking = timed.attack(attack.run(prior, generator(SEED, "benchmark")))
    started = time.perf_counter()
    asyncio.run(drive(asking, timed, Meter(BUDGET)))
    total = time.perf_counter() - started
    return (total - timed.seconds) / timed.seconds


if __name__ == "__main__":
    results.show(run())

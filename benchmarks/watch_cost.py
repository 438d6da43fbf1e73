"""What watching costs an exchange, in batches as the journal hands them on.

All default detectors and the monitor, on traffic of the digits bed; each tracker alone beside it. The ratio is to
one pass of a 64 x 128 product over the same vectors, in the same process, so that machines compare.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks import results
from counterclone.exchanges import Exchanges
from counterclone.populations import beds, honest
from counterclone.populations.population import Population
from counterclone.protocols import Tracker
from counterclone.randomness import Prf, generator
from counterclone.watch.engine import detectors
from counterclone.watch.monitor import Monitor
from counterclone.watch.reference import Reference

BATCH, ROUNDS = 1000, 3
N_REFERENCE, N_ACCOUNTS = 3000, 6000
N_TABLE = 100_000
AT_MOST_US = 6.0


def run() -> results.Result:
    bed = beds.load("digits")
    reference = reference_of(honest.population(bed, N_REFERENCE, seed=0, part="calibration"))
    traffic = honest.population(bed, N_ACCOUNTS, seed=1, part="evaluation")
    parts = batches(traffic.exchanges)
    unit = least_us(lambda: product(parts), len(traffic.exchanges))
    rows = [row("everything", least_us(lambda: watch(reference, traffic, parts), len(traffic.exchanges)), unit)]
    for gauge in reference.gauges:
        rows.append(row(f"{gauge.kind}: learn", least_us(
            lambda tracker=gauge.tracker: learn(tracker, parts), len(traffic.exchanges)), unit))  # type: ignore[misc]
    return results.Result("watch_cost", rows)


def row(what: str, us: float, unit: float) -> dict[str, object]:
    return {"what": what, "us_an_exchange": round(us, 2),
            "us_at_most": AT_MOST_US if what == "everything" else None,
            "ratio_to_a_product": round(us / unit, 1)}


def reference_of(population: Population) -> Reference:
    return Reference.fit(population.exchanges, detectors(), Prf.from_secret("benchmark"), names=population.names)


def batches(exchanges: Exchanges) -> list[Exchanges]:
    return [exchanges.select(slice(start, start + BATCH)) for start in range(0, len(exchanges), BATCH)]


def watch(reference: Reference, traffic: Population, parts: Sequence[Exchanges]) -> None:
    monitor = Monitor(reference, false_alarms_per_year=12)
    for part in parts:
        monitor.feed(traffic.names, part)


def learn(tracker: Tracker, parts: Sequence[Exchanges]) -> None:
    states = tracker.empty(N_TABLE)
    for part in parts:
        tracker.learn(states, part)


def product(parts: Sequence[Exchanges]) -> None:
    matrix = generator(0, "product").standard_normal((64, 128)).astype(np.float32)
    for part in parts:
        part.vectors @ matrix


def least_us(do: Callable[[], object], n: int) -> float:
    """CPU microseconds an exchange, the least of a few rounds: other processes only add."""
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        do()
        times.append(time.process_time() - started)
    return min(times) / n * 1e6


if __name__ == "__main__":
    results.show(run())

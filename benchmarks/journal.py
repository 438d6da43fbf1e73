"""What the journal costs: CPU and bytes for each exchange, from the guard's record to the archived file.

Every exchange is one row with 64 random features, which don't compress, and ten scores; accounts are 500, Zipf.
CPU is the whole process's, the writer's thread and the archiving included, less that of making the input.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import results
from counterclone.guard.recording import Reading, Record, Recorder
from counterclone.journal import JournalWriter
from counterclone.journal.archive import archived_files
from counterclone.queries import Query
from counterclone.randomness import Prf, generator

N_EVENTS, N_ACCOUNTS, N_CLASSES, N_FEATURES = 200_000, 500, 10, 64
ROUNDS = 5
PAUSE_EVENTS = 4096
"""Input comes faster than from any server; without pauses the buffer would drop it."""
AT_MOST_CPU_US, AT_MOST_BYTES = 5.0, 150.0


def run() -> results.Result:
    rounds = [one_round(seed) for seed in range(ROUNDS)]
    cpu, size = ([each[part] for each in rounds] for part in (0, 1))
    return results.Result("journal", [
        {"what": "CPU us an exchange", "median": round(statistics.median(cpu), 2), "low": round(min(cpu), 2),
         "high": round(max(cpu), 2), "at_most": AT_MOST_CPU_US},
        {"what": "bytes an exchange", "median": round(statistics.median(size), 1), "low": round(min(size), 1),
         "high": round(max(size), 1), "at_most": AT_MOST_BYTES}])


def one_round(seed: int) -> tuple[float, float]:
    """CPU microseconds and bytes for each exchange."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recorder = Recorder(Prf.from_secret("benchmark"), keeps_payloads=False)
        writer = JournalWriter(folder, "bench", encode=recorder.encode)
        making = cpu_seconds(lambda: make(seed, lambda record: None, lambda: None))
        total = cpu_seconds(lambda: make(seed, writer.append, writer.flush)) + cpu_seconds(writer.close)
        if (writer.flushed, writer.dropped) != (N_EVENTS, 0):
            raise RuntimeError(f"the writer flushed {writer.flushed} and dropped {writer.dropped}")
        size = sum(path.stat().st_size for path in archived_files(folder))
    return (total - making) / N_EVENTS * 1e6, size / N_EVENTS


def make(seed: int, append: Callable[[Record], object], flush: Callable[[], object]) -> None:
    """The input, over an hour and a bit, as the guard makes it: values as parsed from JSON."""
    rng = generator(seed, "journal")
    accounts = [rng.bytes(8).hex() for _ in range(N_ACCOUNTS)]
    number = 0
    while number < N_EVENTS:
        callers = np.minimum(rng.zipf(1.3, PAUSE_EVENTS), N_ACCOUNTS) - 1
        features = rng.standard_normal((PAUSE_EVENTS, 1, N_FEATURES)).tolist()
        scores = rng.dirichlet(np.ones(N_CLASSES), (PAUSE_EVENTS, 1))
        for caller, values, rows in zip(callers.tolist(), features, scores, strict=True):
            if number == N_EVENTS:
                break
            append(Record(1_764_000_000.0 + 0.02 * number, accounts[caller], "", "predict", "served", 200, 1500,
                          Query(values), Reading(rows, 59.8)))
            number += 1
        flush()


def cpu_seconds(do: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    do()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    results.show(run())

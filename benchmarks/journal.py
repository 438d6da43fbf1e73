"""What the journal costs: CPU and bytes for each exchange, until it lies in an archived file.

Every exchange is one row with 64 random features, which don't compress, and ten scores; accounts are 500, Zipf.
`exchanges` have everything that is written; `records` are what the guard leaves, features as parsed from JSON,
so that canonical forms, digests, labels and margins are counted too. CPU is the whole process's, the writer's
thread and the archiving included, less that of making the input.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import results
from counterclone.guard.recording import Reading, Record, Recorder
from counterclone.journal import Block, Exchange, JournalWriter, to_batch
from counterclone.journal.archive import archived_files
from counterclone.queries import Query
from counterclone.randomness import Prf, generator

N_EVENTS, N_ACCOUNTS, N_CLASSES, N_FEATURES = 200_000, 500, 10, 64
ROUNDS = 5
PAUSE_EVENTS = 4096
"""Input comes faster than from any server; without pauses the buffer would drop it."""
AT_MOST_CPU_US, AT_MOST_BYTES = 5.0, 150.0

Numbers = NDArray[np.float64]
Dated = Callable[[float, str], Block]
Build = Callable[[Sequence[int], Numbers, Numbers], Iterator[Dated]]


def run() -> results.Result:
    recorder = Recorder(Prf.from_secret("benchmark"), keeps_payloads=False)
    rows: list[dict[str, object]] = []
    for what, build, encode in (("exchanges", exchange, to_batch), ("records", record, recorder.encode)):
        rounds = [one_round(seed, build, encode) for seed in range(ROUNDS)]
        cpu, size = ([each[part] for each in rounds] for part in (0, 1))
        rows.append({"what": what, "cpu_us": round(statistics.median(cpu), 2), "cpu_us_low": round(min(cpu), 2),
                     "cpu_us_high": round(max(cpu), 2), "cpu_us_at_most": AT_MOST_CPU_US,
                     "bytes": round(statistics.median(size), 1), "bytes_at_most": AT_MOST_BYTES})
    return results.Result("journal", rows)


def one_round(seed: int, build: Build, encode: Callable[[Sequence[Any]], Any]) -> tuple[float, float]:
    """CPU microseconds and bytes for each exchange."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = JournalWriter(folder, "bench", encode=encode)
        making = cpu_seconds(lambda: make(seed, build, lambda block: None, lambda: None))
        total = cpu_seconds(lambda: make(seed, build, writer.append, writer.flush)) + cpu_seconds(writer.close)
        if (writer.flushed, writer.dropped) != (N_EVENTS, 0):
            raise RuntimeError(f"the writer flushed {writer.flushed} and dropped {writer.dropped}")
        size = sum(path.stat().st_size for path in archived_files(folder))
    return (total - making) / N_EVENTS * 1e6, size / N_EVENTS


def make(seed: int, build: Build, append: Callable[[Block], object], flush: Callable[[], object]) -> None:
    """The input, over an hour and a bit."""
    rng = generator(seed, "journal")
    accounts = [rng.bytes(8).hex() for _ in range(N_ACCOUNTS)]
    for start in range(0, N_EVENTS, PAUSE_EVENTS):
        n = min(PAUSE_EVENTS, N_EVENTS - start)
        callers = (np.minimum(rng.zipf(1.3, n), N_ACCOUNTS) - 1).tolist()
        features = rng.standard_normal((n, 1, N_FEATURES))
        scores = rng.dirichlet(np.ones(N_CLASSES), (n, 1))
        for number, block in enumerate(build(callers, features, scores), start=start):
            append(block(1_764_000_000.0 + 0.02 * number, accounts[callers[number - start]]))
        flush()


def exchange(callers: Sequence[int], features: Numbers, scores: Numbers) -> Iterator[Dated]:
    digests = generator(len(callers), "digests").integers(0, 2**64, len(callers), dtype=np.uint64).tolist()
    labels, gaps = scores.argmax(axis=2), scores[:, :, 0]
    for i in range(len(callers)):
        yield lambda time, account, i=i: Exchange(  # type: ignore[misc]
            time, account, "", "predict", "", "served", 200, (digests[i],), labels[i], gaps[i], N_CLASSES, 59.8,
            features[i])


def record(callers: Sequence[int], features: Numbers, scores: Numbers) -> Iterator[Dated]:
    for values, rows in zip(features.tolist(), scores, strict=True):
        yield lambda time, account, values=values, rows=rows: Record(  # type: ignore[misc]
            time, account, "", "predict", "served", 200, 1500, 1, Query(values), Reading(rows, 59.8))


def cpu_seconds(do: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    do()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    results.show(run())

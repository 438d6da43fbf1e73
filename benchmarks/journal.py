"""What the journal costs: CPU and bytes for each exchange, through a real writer onto a real disk.

Every exchange is one row with 64 random features, which don't compress; accounts are 500, Zipf. CPU is the
whole process's, the writer's thread and the archiving included, less the cost of making the input.
"""

from __future__ import annotations

import resource
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from counterclone.journal import Exchange, JournalWriter
from counterclone.journal.archive import archived_files
from counterclone.randomness import generator

N_EVENTS = 200_000
N_ACCOUNTS = 500
ROUNDS = 5
PAUSE_EVENTS = 4096
"""Input comes faster than from any server; without pauses the buffer would drop it."""
LIMIT_CPU_US = 5.0
LIMIT_BYTES = 150.0


def exchanges() -> Iterator[Exchange]:
    """The input, over an hour and a bit."""
    rng = generator(0, "journal")
    accounts = [rng.bytes(8).hex() for _ in range(N_ACCOUNTS)]
    callers = np.minimum(rng.zipf(1.3, N_EVENTS), N_ACCOUNTS) - 1
    features = rng.standard_normal((N_EVENTS, 1, 64))
    digests = rng.integers(0, 2**64, N_EVENTS, dtype=np.uint64).tolist()
    labels = rng.integers(0, 10, (N_EVENTS, 1))
    margins = rng.random((N_EVENTS, 1))
    for i, caller in enumerate(callers.tolist()):
        yield Exchange(
            time=1_764_000_000.0 + 0.02 * i, account=accounts[caller], account_class="", dialect="oip",
            model="credit", decision="served", status=200, digests=(digests[i],), labels=labels[i],
            margins=margins[i], n_classes=10, bits=59.8, features=features[i])


def run() -> dict[str, Any]:
    """Median CPU and bytes for each exchange over the rounds."""
    rounds = [_round() for _ in range(ROUNDS)]
    cpu_us = statistics.median(cpu for cpu, _ in rounds)
    n_bytes = statistics.median(size for _, size in rounds)
    return {"name": "journal", "rows": [
        {"what": "CPU us an exchange", "value": round(cpu_us, 2), "limit": LIMIT_CPU_US},
        {"what": "bytes an exchange", "value": round(n_bytes, 1), "limit": LIMIT_BYTES},
    ]}


def _round() -> tuple[float, float]:
    def only_make() -> None:
        for _ in exchanges():
            pass

    def make_and_write() -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            writer = JournalWriter(folder, "bench")
            for i, exchange in enumerate(exchanges()):
                writer.append(exchange)
                if i % PAUSE_EVENTS == 0:
                    writer.flush()
            writer.close()
            if (writer.flushed, writer.dropped) != (N_EVENTS, 0):
                raise RuntimeError(f"the writer flushed {writer.flushed} and dropped {writer.dropped}")
            sizes.append(sum(path.stat().st_size for path in archived_files(folder)) / N_EVENTS)

    sizes: list[float] = []
    making = _cpu_seconds(only_make)
    return (_cpu_seconds(make_and_write) - making) / N_EVENTS * 1e6, sizes[0]


def _cpu_seconds(work: Callable[[], None]) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    for row in run()["rows"]:
        print(f"{row['what']:<20} {row['value']:>8} (limit {row['limit']:g})")


if __name__ == "__main__":
    main()

"""A million journalled exchanges of 100,000 accounts, campaigns among them: how long, and in how much memory.

The journal's batches lie in one file; a process of its own reads them, watches and searches for campaigns, so that
its memory is only the watch's.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks import results
from counterclone.exchanges import Exchanges
from counterclone.journal.events import SCHEMA, VECTOR_BYTES
from counterclone.populations import beds, campaigns, honest, population
from counterclone.populations.population import Population
from counterclone.randomness import Prf
from counterclone.watch.engine import Engine, detectors, reference_of
from counterclone.watch.honest import gather
from counterclone.watch.sources import Traffic, traffic_of

N_ACCOUNTS, N_COPIERS, QUERIES_EACH = 100_000, 2_000, 10.0
N_REFERENCE = 5_000
BATCH = 8192
AT_MOST_SECONDS, AT_MOST_GB = 180.0, 4.0
RATE = 12.0
SAME = {"account_class": "", "dialect": "predict", "model": "", "decision": "served", "status": 200,
        "n_features": 64, "n_classes": 10}


def run() -> results.Result:
    bed = beds.load("digits")
    volume = honest.Volume(median=5.5, most=60)
    traffic = population.join(
        honest.population(bed, N_ACCOUNTS - N_COPIERS, 30.0, seed=1, part="evaluation", volume=volume),
        campaigns.campaign(bed, "natural", N_COPIERS, 2 * QUERIES_EACH, days=30.0, seed=2))
    with tempfile.TemporaryDirectory() as name:
        source, benign = Path(name) / "journal.arrow", Path(name) / "benign.arrow"
        write(traffic, source)
        write(honest.population(bed, N_REFERENCE, 30.0, seed=0, part="calibration", volume=volume), benign)
        done = subprocess.run([sys.executable, "-m", "benchmarks.watch_replay", str(source), str(benign)],
                              check=True, stdout=subprocess.PIPE)
    found = orjson.loads(done.stdout)
    n = len(traffic.exchanges)
    return results.Result("watch_replay", [{
        "exchanges": n, "accounts": len(traffic), "seconds": round(found["replay"] + found["search"], 1),
        "seconds_at_most": AT_MOST_SECONDS, "us_an_exchange": round(found["replay"] / n * 1e6, 2),
        "of_these_search": round(found["search"], 1), "reference_seconds": round(found["reference"], 1),
        "peak_gb": round(found["peak_gb"], 2), "gb_at_most": AT_MOST_GB, "campaigns": found["campaigns"]}])


def write(traffic: Population, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        names = np.array(traffic.names)
        for start in range(0, len(traffic.exchanges), BATCH):
            writer.write_batch(batch_of(names, traffic.exchanges.select(slice(start, start + BATCH))))


def batch_of(names: NDArray[np.str_], exchanges: Exchanges) -> pa.RecordBatch:
    n = len(exchanges)
    vectors = pa.Array.from_buffers(pa.binary(VECTOR_BYTES), n, [
        None, pa.py_buffer(np.ascontiguousarray(exchanges.vectors, dtype="<f2").tobytes())])
    columns = {
        "time": pa.array(np.rint(exchanges.times * 1e6).astype(np.int64)).cast(SCHEMA.field("time").type),
        "account": pa.array(names[exchanges.accounts].tolist()), "digest": pa.array(exchanges.digests),
        "label": pa.array(exchanges.labels), "margin": pa.array(exchanges.margins),
        "bits": pa.array(exchanges.bits), "vector": vectors, "payload": pa.nulls(n, pa.binary()),
        **{name: pa.array([value] * n, SCHEMA.field(name).type) for name, value in SAME.items()}}
    return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def batches(path: Path) -> list[pa.RecordBatch]:
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    return [reader.get_batch(number) for number in range(reader.num_record_batches)]


class File:
    """A file of batches as a source."""

    n_skipped = 0

    def __init__(self, path: Path) -> None:
        self._path = path
        self.problems: list[str] = []

    def traffic(self) -> Iterator[Traffic]:
        return map(traffic_of, batches(self._path))

    def follow(self) -> Iterator[Traffic | None]:
        return self.traffic()


def replay(source: Path, benign: Path) -> dict[str, float]:
    key = Prf.from_secret("benchmark")
    times = [time.process_time()]
    past = gather(File(benign), key)
    engine = Engine(reference_of(past, detectors(), key), past, key, false_alarms_per_year=RATE,
                    max_accounts=2 * N_ACCOUNTS, tell=lambda accounts, evidence, campaign: None)
    times.append(time.process_time())
    for traffic in File(source).traffic():
        engine.take(traffic)
    times.append(time.process_time())
    found = engine.search()
    times.append(time.process_time())
    reference, replayed, searched = np.diff(times).tolist()
    return {"reference": reference, "replay": replayed, "search": searched, "campaigns": len(found),
            "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdout.buffer.write(orjson.dumps(replay(Path(sys.argv[1]), Path(sys.argv[2]))))
    else:
        results.show(run())

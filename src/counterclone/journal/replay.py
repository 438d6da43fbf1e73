"""Many segments as one stream in the order of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counterclone.journal.events import SCHEMA

REPLAY_ROWS = 8192


class Source(NamedTuple):
    """One segment.

    Attributes:
        start: the time of its first row, in microseconds since 1970, or any earlier time.
        load: reads its rows, which are in the order of time.
    """

    start: int
    load: Callable[[], pa.Table]


def in_time_order(sources: Iterable[Source]) -> Iterator[pa.RecordBatch]:
    """The rows of all segments by time, at most 8,192 a batch; only segments that overlap are in memory."""
    waiting = deque(sorted(sources, key=lambda source: source.start))
    loaded: list[pa.Table] = []
    while waiting or loaded:
        while waiting and (not loaded or waiting[0].start <= _horizon(loaded)):
            table = waiting.popleft().load()
            if table.num_rows:
                loaded.append(table)
        if not loaded:
            return
        horizon = _horizon(loaded)
        n_ready = [int(np.searchsorted(_times(table), horizon, side="right")) for table in loaded]
        ready = pa.concat_tables([table.slice(0, n) for table, n in zip(loaded, n_ready, strict=True)])
        yield from in_order(ready).combine_chunks().to_batches(max_chunksize=REPLAY_ROWS)
        loaded = [table.slice(n) for table, n in zip(loaded, n_ready, strict=True) if n < table.num_rows]


def in_order(rows: pa.Table) -> pa.Table:
    """The rows by time; equal times keep their order."""
    times = _times(rows)
    if bool((np.diff(times) >= 0).all()):
        return rows
    return rows.take(pa.array(times.argsort(kind="stable")))


def table_of(batches: list[pa.RecordBatch]) -> pa.Table:
    """The rows of a journal's batches in the order of time."""
    return in_order(pa.Table.from_batches(batches, SCHEMA))


def start_of(rows: pa.Table) -> int:
    """The time of the first row, in microseconds since 1970."""
    return int(_times(rows)[0])


def _horizon(tables: list[pa.Table]) -> int:
    """The time up to which no table can have rows that weren't read yet."""
    return min(int(_times(table.slice(table.num_rows - 1))[0]) for table in tables)


def _times(rows: pa.Table) -> NDArray[np.int64]:
    times: NDArray[np.int64] = rows.column("time").cast(pa.int64()).to_numpy()
    return times

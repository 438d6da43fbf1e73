"""What a journal got since the last look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from counterclone.journal.folder import JournalFolder
from counterclone.journal.replay import Source, in_time_order, start_of
from counterclone.journal.segments import SegmentName

_ROW_BYTES = 16


class Follower:
    """Reads a journal that guards go on writing, each row once.

    Args:
        folder: the journal.
    """

    def __init__(self, folder: JournalFolder) -> None:
        self._folder = folder
        self._taken: dict[SegmentName, bytes] = {}
        self._done: set[Path] = set()

    def poll(self) -> Iterator[pa.RecordBatch]:
        """The rows that weren't there at the last call, in the order of time."""
        live, archived = self._folder.segments()
        sources = []
        for name, table in live.items():
            fresh = self._fresh(name, table)
            if fresh.num_rows:
                self._taken[name] = self._taken.get(name, b"") + _keys(fresh)
                sources.append(Source(start_of(fresh), partial(_same, fresh)))
        taken = {name.archive_path(self._folder.path): name for name in self._taken}
        for path, start in archived.items():
            if path not in self._done:
                self._done.add(path)
                sources.append(Source(start, partial(self._rest, path, self._taken.pop(taken[path], b"")
                                                     if path in taken else b"")))
        self._done &= archived.keys()  # what is too old is removed
        yield from in_time_order(sources)

    def _fresh(self, name: SegmentName, table: pa.Table) -> pa.Table:
        taken = self._taken.get(name, b"")
        return table if not taken else _without(table, taken)

    def _rest(self, path: Path, taken: bytes) -> pa.Table:
        table = self._folder.load(path)
        return _without(table, taken) if taken else table


def _keys(rows: pa.Table) -> bytes:
    """16 bytes for each row, by its time and its query."""
    keys = np.empty((rows.num_rows, 2), dtype=np.uint64)
    keys[:, 0] = rows.column("time").cast(pa.int64()).to_numpy().view(np.uint64)
    keys[:, 1] = rows.column("digest").to_numpy()
    return keys.tobytes()


def _without(rows: pa.Table, taken: bytes) -> pa.Table:
    """The rows that aren't among those taken; of equal ones as many as weren't."""
    if rows.num_rows * _ROW_BYTES == len(taken):
        return rows.slice(0, 0)
    left = Counter(_split(taken))
    is_fresh = np.ones(rows.num_rows, dtype=np.bool_)
    for place, key in enumerate(_split(_keys(rows))):
        if left[key] > 0:
            left[key] -= 1
            is_fresh[place] = False
    return rows.filter(pa.array(is_fresh))


def _split(keys: bytes) -> list[bytes]:
    return [keys[start:start + _ROW_BYTES] for start in range(0, len(keys), _ROW_BYTES)]


def _same(table: pa.Table) -> pa.Table:
    return table

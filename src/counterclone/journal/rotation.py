"""The segments of one writer: which one a batch goes to, and when each is closed and archived."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from counterclone.journal.archive import archive
from counterclone.journal.segments import LiveSegment, SegmentName

SEGMENT_BYTES = 16 << 20
SEGMENT_SECONDS = 600.0
BATCH_ROWS = 1024
MAX_OPEN = 4
"""Hours open at once: around a full hour, rows of both sides of it come mixed."""


class Rotation:
    """Open segments by hour, and closed ones that wait to be archived."""

    def __init__(self, folder: Path, worker: str, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._worker = worker
        self._clock = clock
        self._open: dict[int, LiveSegment] = {}
        self._closed: list[LiveSegment] = []

    def write(self, hour: int, batch: pa.RecordBatch) -> None:
        """Append rows of the hour that starts at `hour` (seconds since 1970), all or none.

        Raises:
            OSError: the disk refused.
        """
        segment = self._open.get(hour) or self._opened(hour)
        if segment.is_lost:
            self._open.pop(hour).close()
            raise FileNotFoundError(f"the journal's files under {self._folder} were moved or removed")
        try:
            segment.write([batch.slice(start, BATCH_ROWS) for start in range(0, batch.num_rows, BATCH_ROWS)])
        finally:
            if segment.is_broken or segment.n_bytes >= SEGMENT_BYTES:
                self._close(hour)

    def close_old(self) -> None:
        """Close the segments that have been open for ten minutes, or that the clock has left behind."""
        now = self._clock()
        for hour, segment in list(self._open.items()):
            if abs(now - segment.opened) >= SEGMENT_SECONDS:
                self._close(hour)

    def close_all(self) -> None:
        """Close every segment."""
        for hour in list(self._open):
            self._close(hour)

    def archive_closed(self) -> None:
        """Archive the closed segments.

        Raises:
            OSError: the disk refused; what isn't archived can be tried again.
        """
        while self._closed:
            if not self._closed[0].is_lost:
                archive(self._folder, self._closed[0].name)
            self._closed.pop(0).close()

    def release(self) -> None:
        """Let every file go; those that are still there become orphans."""
        for segment in (*self._open.values(), *self._closed):
            segment.close()
        self._open.clear()
        self._closed.clear()

    def _opened(self, hour: int) -> LiveSegment:
        if len(self._open) >= MAX_OPEN:
            self._close(next(iter(self._open)))
        now = self._clock()
        self._open[hour] = LiveSegment(self._folder, SegmentName.new(self._worker, hour, now), now)
        return self._open[hour]

    def _close(self, hour: int) -> None:
        self._closed.append(self._open.pop(hour))

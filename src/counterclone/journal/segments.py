"""Live segments: the files that a writer appends to, one UTC hour each.

    <journal>/live/<worker>/<YYYY-MM-DD>T<HH>-<sequence>.arrows
    <journal>/date=<YYYY-MM-DD>/hour=<HH>/<worker>-<sequence>.parquet     (see `archive`)

A live segment is an Arrow IPC stream without an end mark, written message by message, so that a write
that fails can be cut off again, and every batch before a crash can be read. Its writer holds an exclusive
lock on it; a segment that nobody holds is an orphan.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pyarrow import ipc

from counterclone.journal.events import SCHEMA, check_rows, schema_problem
from counterclone.randomness import new_id

LIVE = "live"
HEADER: bytes = SCHEMA.serialize().to_pybytes()
HOUR = 3600
MAX_LIVE_BYTES = 1 << 28
"""Larger files aren't ours: a segment is closed at 16 MB, and one exchange is bounded by the buffer."""

_WORKER = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_SEQUENCE = r"[0-9a-f]{20}"
_WORKER_NAME = re.compile(_WORKER)
_LIVE_FILE = re.compile(rf"(\d{{4}}-\d\d-\d\d)T(\d\d)-({_SEQUENCE})\.arrows")


class SegmentName(NamedTuple):
    """What a segment is called, live and archived.

    Attributes:
        worker: the writer's name.
        date: the UTC day of its rows, YYYY-MM-DD.
        hour: the UTC hour of its rows, HH.
        sequence: 20 hexadecimal digits, the time of opening and a random part, so that no two segments
            meet, whatever the clock does.
    """

    worker: str
    date: str
    hour: str
    sequence: str

    @classmethod
    def new(cls, worker: str, hour: int, now: float) -> SegmentName:
        """A name for rows of the hour that starts at `hour`, in seconds since 1970."""
        start = datetime.fromtimestamp(hour, UTC)
        opened = f"{int(now * 1000) & 0xFFFFFFFFFFFF:012x}"
        return cls(worker, f"{start:%Y-%m-%d}", f"{start:%H}", opened + new_id(4))

    @classmethod
    def of_live(cls, path: Path) -> SegmentName | None:
        """The name of a live file, None where it isn't one."""
        match = _LIVE_FILE.fullmatch(path.name)
        return cls(path.parent.name, *match.groups()) if match else None

    def live_path(self, folder: Path) -> Path:
        """Where the live file is."""
        return folder / LIVE / self.worker / f"{self.date}T{self.hour}-{self.sequence}.arrows"

    def archive_path(self, folder: Path) -> Path:
        """Where the archived file is."""
        return folder / f"date={self.date}" / f"hour={self.hour}" / f"{self.worker}-{self.sequence}.parquet"


class LiveSegment:
    """A segment that this process writes.

    Attributes:
        name: what it is called.
        opened: when, in seconds since 1970.
        n_bytes: bytes that are whole.
        is_broken: whether its end couldn't be repaired after a failed write: nothing may follow.

    Raises:
        OSError: the file can't be made.
    """

    def __init__(self, folder: Path, name: SegmentName, opened: float) -> None:
        self.name = name
        self.opened = opened
        self.n_bytes = 0
        self.is_broken = False
        self._path = name.live_path(folder)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        try:
            hold(self._file)
            self._append(HEADER)
            if self.is_lost:  # somebody took the new file for an orphan before it was locked
                raise FileNotFoundError(f"{self._path} was removed")
        except OSError:
            self.discard()
            raise

    @property
    def is_lost(self) -> bool:
        """Whether the file isn't at its path any more, so that writes to it would go nowhere."""
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except OSError:
            return True

    def write(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Append batches, all or none.

        Raises:
            OSError: the disk refused, and nothing was kept.
        """
        self._append(b"".join(batch.serialize() for batch in batches))

    def close(self) -> None:
        """Let the file go; it becomes an orphan if it is still there."""
        os.close(self._file)

    def discard(self) -> None:
        """Remove the file and let it go."""
        self.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view):]
        except OSError:
            self._cut()
            raise
        self.n_bytes += len(data)

    def _cut(self) -> None:
        try:
            os.ftruncate(self._file, self.n_bytes)
        except OSError:
            self.is_broken = True


class Reading(NamedTuple):
    """What a live file holds.

    Attributes:
        batches: its whole batches, checked.
        bytes_cut: bytes behind them, as a crash or damage leaves them.
        problem: why this isn't a segment that can be read, None where it is.
    """

    batches: list[pa.RecordBatch]
    bytes_cut: int
    problem: str | None


def read_live(path: Path) -> Reading:
    """The whole batches of a live file, up to the first that is damaged.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > MAX_LIVE_BYTES:
            return Reading([], size, f"larger than {MAX_LIVE_BYTES:,} bytes, so not a segment")
        data = file.read(size)
    if HEADER.startswith(data):
        return Reading([], 0 if data == HEADER else len(data), None)
    source = pa.BufferReader(data)
    try:
        reader = ipc.open_stream(source)
    except (pa.ArrowException, OSError) as error:
        return Reading([], len(data), f"not an Arrow stream ({str(error).partition(chr(10))[0]})")
    if problem := schema_problem(reader.schema):
        return Reading([], len(data), problem)
    batches: list[pa.RecordBatch] = []
    whole = source.tell()
    with contextlib.suppress(pa.ArrowException, OSError, ValueError):
        for batch in reader:
            check_rows(batch)
            batches.append(batch.replace_schema_metadata(SCHEMA.metadata))
            whole = source.tell()
    return Reading(batches, len(data) - whole, None)


def live_files(folder: Path) -> Iterator[tuple[Path, SegmentName]]:
    """The live files under a journal, by worker and then by hour."""
    for worker in entries(folder / LIVE):
        for path in entries(worker):
            if name := SegmentName.of_live(path):
                yield path, name


def entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted; nothing where it isn't there, or not any more (`glob` would raise)."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def hold(file: int) -> None:
    """Lock an open file as its only writer.

    Raises:
        BlockingIOError: somebody holds it.
    """
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Whether a writer holds a live file.

    Raises:
        OSError: the file can't be opened.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def check_worker(worker: str) -> None:
    """Refuse a name that can't be part of a file's.

    Raises:
        ValueError: the name is empty, too long or has other characters than letters, digits and `._-`.
    """
    if not _WORKER_NAME.fullmatch(worker):
        raise ValueError(f"a worker's name has 1 to 64 letters, digits or `._-`, not {worker!r}")

"""Archived segments: closed ones as Parquet, orphans taken over, old ones removed.

A live segment becomes one Parquet file of the same hour, worker and sequence, by a temporary file and a
rename, and is removed afterwards. Whoever finds both (a crash came between) ignores the live one.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Iterator, Set
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from counterclone.budgets import DAY
from counterclone.journal.replay import table_of
from counterclone.journal.segments import HOUR, SegmentName, entries, hold, live_files, read_live

FILES_KNOWN = 10_000
_DICTIONARIES = ["account", "account_class", "dialect", "model", "decision", "status", "n_features",
                 "n_classes", "label", "bits"]
_ENCODINGS = {"time": "DELTA_BINARY_PACKED", "margin": "BYTE_STREAM_SPLIT", "digest": "PLAIN",
              "vector": "PLAIN", "payload": "PLAIN"}
_STATISTICS = ["time", "account", "decision", "status", "n_features", "label"]

logger = logging.getLogger(__name__)


class Recovery(NamedTuple):
    """What became of live segments: files archived or emptied, their rows, and bytes that were cut off."""

    segments: int = 0
    rows: int = 0
    bytes_cut: int = 0

    def plus(self, other: Recovery) -> Recovery:
        """Both together."""
        return Recovery(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def archive(folder: Path, name: SegmentName) -> Recovery:
    """Turn a live segment into its Parquet file; only its holder may.

    A file that isn't a segment of this format is left where it is.

    Raises:
        OSError: the disk refused; the live segment is still there.
    """
    live, target = name.live_path(folder), name.archive_path(folder)
    if target.exists():  # a crash came between the rename and the removal
        live.unlink(missing_ok=True)
        return Recovery(1)
    reading = read_live(live)
    if reading.problem:
        logger.warning("journal file left as it is: file=%s problem=%s", live, reading.problem)
        return Recovery()
    if reading.batches:
        _write(table_of(reading.batches), target)
    live.unlink(missing_ok=True)
    return Recovery(1, sum(batch.num_rows for batch in reading.batches), reading.bytes_cut)


def recover(folder: Path) -> Recovery:
    """Archive the live segments that no process holds.

    Raises:
        OSError: the disk refused.
    """
    total = Recovery()
    for path, name in live_files(folder):
        with contextlib.suppress(FileNotFoundError, BlockingIOError), _held(path):
            total = total.plus(archive(folder, name))
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # only an empty one goes
    return total


def archived_files(folder: Path) -> list[Path]:
    """The archived files under a journal, oldest first: by hour, then by when they were opened."""
    hours = [hour for date in entries(folder) if date.name.startswith("date=")
             for hour in entries(date) if hour.name.startswith("hour=")]
    return [path for hour in hours
            for path in sorted(entries(hour), key=lambda path: path.stem[-20:]) if path.suffix == ".parquet"]


def retain(folder: Path, now: float, *, days: float, n_bytes: int,
           held: Set[str] = frozenset()) -> int:
    """Remove archived files that are too old, then the oldest until the rest fits.

    Args:
        folder: the journal.
        now: seconds since 1970.
        days: files whose hour ended longer ago go; 0 keeps all.
        n_bytes: what all archived files together may take; 0 for no bound.
        held: accounts whose files stay.

    Returns:
        The number of files removed.
    """
    files = list(_sizes(archived_files(folder)))
    excess = sum(size for _, size in files) - n_bytes if n_bytes else 0
    removed = 0
    for path, size in files:
        is_old = days > 0 and _end(path) < now - days * DAY
        if (not is_old and excess <= 0) or not held.isdisjoint(_accounts(path, size) if held else ()):
            continue
        path.unlink(missing_ok=True)
        removed += 1
        excess -= size
        for parent in (path.parent, path.parent.parent):
            with contextlib.suppress(OSError):
                parent.rmdir()
    return removed


@functools.lru_cache(maxsize=FILES_KNOWN)
def _accounts(path: Path, size: int) -> frozenset[str]:
    """The accounts in an archived file, which never changes.

    Raises:
        OSError: it can't be read; as long as nobody knows, nothing is removed.
    """
    try:
        return frozenset(pq.read_table(path, columns=["account"])["account"].unique().to_pylist())
    except FileNotFoundError:  # another worker removed it
        return frozenset()
    except pa.ArrowException as error:
        raise OSError(f"{path}: {error}; it isn't removed as long as cases hold accounts") from None


def _write(table: pa.Table, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")  # a fixed name: the next attempt overwrites it
    try:
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd", use_dictionary=_DICTIONARIES,
                           column_encoding=_ENCODINGS, write_statistics=_STATISTICS,
                           write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold an orphan while its file is archived.

    Raises:
        BlockingIOError: a writer holds it; FileNotFoundError: it is gone.
    """
    file = os.open(path, os.O_RDWR)
    try:
        hold(file)
        yield
    finally:
        os.close(file)


def _sizes(paths: list[Path]) -> Iterator[tuple[Path, int]]:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # another worker may have removed it
            yield path, path.stat().st_size


def _end(path: Path) -> float:
    """When the hour of an archived file ended, in seconds since 1970; the far future for a strange name."""
    date, hour = path.parent.parent.name.partition("=")[2], path.parent.name.partition("=")[2]
    try:
        return datetime.strptime(f"{date} {hour}", "%Y-%m-%d %H").replace(tzinfo=UTC).timestamp() + HOUR
    except ValueError:
        return float("inf")

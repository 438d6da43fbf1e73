"""Who did what in the console, and when: lines that are only ever added, on the disk before anything is done."""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from counterclone.errors import SourceError

TRAIL_FILE = "counterclone.trail.jsonl"
SHOWN = 500


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that somebody did.

    Attributes:
        time: seconds since 1970.
        who: as they called themselves.
        action: what.
        subject: to what: a case, an account, a configuration; "" for none.
        before: what was, "" where that means nothing.
        after: what it is to be, likewise.
        note: why, in their words.
        failed: why it wasn't done after all, "" where it was.
    """

    time: float
    who: str
    action: str
    subject: str = ""
    before: str = ""
    after: str = ""
    note: str = ""
    failed: str = ""


class Trail:
    """A file of JSON lines beside the configuration, readable by its owner only.

    Args:
        path: the file, made with the first line.
        clock: seconds since 1970.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock

    def add(self, who: str, action: str, *, subject: str = "", before: str = "", after: str = "", note: str = "",
            failed: str = "") -> None:
        """Add a line; on the disk when this returns.

        Raises:
            SourceError: it can't be written, so what it tells of may not be done.
        """
        entry = Entry(time=self._clock(), who=who, action=action, subject=subject, before=before, after=after,
                      note=note, failed=failed)
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed
                self._write(descriptor, msgspec.json.encode(entry) + b"\n")
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SourceError(f"{self._path}: {error.strerror or error}; nothing is done that the trail can't "
                              "take; make it writable") from None

    def last(self) -> tuple[list[Entry], int]:
        """The last lines, the newest first, and how many can't be read.

        Raises:
            SourceError: the file can't be read.
        """
        try:
            with self._path.open("rb") as file:
                lines = deque(file, maxlen=SHOWN)
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            raise SourceError(f"{self._path}: {error.strerror or error}; let it be read") from None
        entries = []
        for line in reversed(lines):
            try:
                entries.append(_DECODER.decode(line))
            except (msgspec.DecodeError, RecursionError):
                continue
        return entries, len(lines) - len(entries)

    def _write(self, descriptor: int, line: bytes) -> None:
        """Append and sync; half a line of somebody who died is ended first."""
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(descriptor, line) < len(line):
            raise OSError("the disk took half a line")
        os.fsync(descriptor)


_DECODER = msgspec.json.Decoder(Entry)

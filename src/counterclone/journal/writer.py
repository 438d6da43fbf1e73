"""The journal's writer: exchanges come in on the event loop and leave for the disk in a thread.

Nothing here stops honest traffic: `append` does no I/O, and where the disk can't keep up the oldest rows
are dropped and counted. What was flushed survives a kill of the process; archived files survive a power
cut.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any

import pyarrow as pa

from counterclone.journal.archive import Recovery, recover, retain
from counterclone.journal.events import LAST_TIME, to_batch
from counterclone.journal.rotation import BATCH_ROWS, Rotation
from counterclone.journal.segments import HOUR, check_worker
from counterclone.journal.waiting import Block, Waiting

WAKE_ROWS = 256
FLUSH_SECONDS = 0.8
"""Leaves a fifth of the promised second for the write itself."""
RETRY_SECONDS = 1.0
TIDY_SECONDS = 60.0
LOG_SECONDS = 60.0
TAKE_BYTES = 8 << 20

logger = logging.getLogger(__name__)


class JournalWriter:
    """Appends exchanges to a journal folder, for one process.

    After a fork, the child's copy starts empty, with files and a thread of its own.

    Attributes:
        dropped: rows that were lost: too many waited, or an exchange couldn't be written as rows.
        flushed: rows on the disk.
        errors: refusals of the disk.
        last_error: what the disk says, None while all is well.
        recovery: what was found of dead writers at the start, None until that is done.
        batches_missed: batches that `on_batch` failed with.
        last_missed: why it failed with the last one, None where it took it.
    """

    def __init__(self, folder: Path | str, worker: str, *, retention_days: float = 0, retention_bytes: int = 0,
                 encode: Callable[[Sequence[Any]], pa.RecordBatch] = to_batch,
                 on_batch: Callable[[pa.RecordBatch], None] | None = None,
                 held: Callable[[], Set[str]] = frozenset,
                 clock: Callable[[], float] = time.time) -> None:
        """Start the thread; the folder is made when the first row is written.

        Args:
            folder: the journal.
            worker: this process's name: letters, digits and `._-`.
            retention_days: days that exchanges are kept, 0 for ever.
            retention_bytes: bytes of archived files after which the oldest go, 0 for no bound.
            encode: what is appended to rows of `SCHEMA`; called in the thread, so that a request's path needn't.
                Where the disk refuses, or one of many can't be encoded, it is called again for the same
                exchanges: it must change nothing else.
            on_batch: takes each batch once it is on the disk, in the thread; what it raises is counted.
            held: the accounts whose files no retention removes; where it raises, none is removed.
            clock: the time, in seconds since 1970.

        Raises:
            ValueError: the worker's name can't be part of a file's.
        """
        check_worker(worker)
        self._folder = Path(folder)
        self._worker = worker
        self._retention_days = retention_days
        self._retention_bytes = retention_bytes
        self._encode = encode
        self._on_batch = on_batch
        self._held = held
        self._clock = clock
        self._is_closed = False
        self._reset()
        _writers.add(self)
        atexit.register(self.close)
        self._is_started()

    def _reset(self) -> None:
        """Everything that belongs to one process."""
        self.dropped = self.flushed = self.errors = 0
        self.batches_missed = 0
        self.last_error: str | None = None
        self.last_missed: str | None = None
        self.recovery: Recovery | None = None
        self._waiting = Waiting(self._count_dropped)
        self._rotation = Rotation(self._folder, self._worker, self._clock)
        self._thread: threading.Thread | None = None
        self._is_woken = False
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._disk = threading.Lock()
        self._dropping = threading.Lock()
        self._write_error: str | None = None
        self._tidy_error: str | None = None
        self._archive_at = self._clean_at = 0.0
        self._log_at = 0.0

    def append(self, exchange: Block) -> None:
        """Add one request's rows; from one thread, and it never waits."""
        if self._thread is None and not self._is_started():
            self._count_dropped(exchange.n_rows)
            return
        if self._waiting.append(exchange) >= WAKE_ROWS and not self._is_woken:
            self._is_woken = True
            self._wake.set()

    def flush(self) -> bool:
        """Write what waits, now; whether the disk took it all."""
        with self._disk:
            return self._drain()

    def close(self) -> None:
        """Flush, archive this writer's segments and stop; what the disk refuses is dropped and counted."""
        if self._is_closed:
            return
        self._is_closed = True
        atexit.unregister(self.close)
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None
        with self._disk:
            self._drain()
            self._rotation.close_all()
            self._archive_at = self._clean_at = 0.0
            self._tidy()
            self._rotation.release()
            self._count_dropped(self._waiting.n_rows)

    def _is_started(self) -> bool:
        """Start the thread where it doesn't run yet, as in a fork's child; False after `close`."""
        if self._is_closed:
            return False
        self._thread = threading.Thread(target=self._run, name=f"journal {self._worker}", daemon=True)
        self._thread.start()
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._disk:
                is_written = self._drain()
                self._rotation.close_old()
                self._tidy()
            if not is_written:
                self._stop.wait(RETRY_SECONDS)
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            self._is_woken = False

    def _drain(self) -> bool:
        """Write what waits now; False where the disk refuses, and then the rest goes on waiting."""
        n_blocks = len(self._waiting)  # not those that come meanwhile, so that this ends
        while n_blocks > 0 and (blocks := self._waiting.take(BATCH_ROWS, TAKE_BYTES)):
            n_blocks -= len(blocks)
            hours = _by_hour(blocks)
            try:
                for hour in list(hours):
                    self._store(hour, hours[hour])
                    del hours[hour]
            except Exception as error:  # whatever it is, the thread goes on
                self._waiting.put_back([block for group in hours.values() for block in group])
                self._write_error = self._refused(error)
                return False
        self._write_error = None
        self.last_error = self._tidy_error
        return True

    def _store(self, hour: int, blocks: list[Block]) -> None:
        """Write exchanges of one hour; those that can't be rows leave `blocks`."""
        try:
            batch = self._encode(blocks)
        except Exception:  # an exchange that can't be written must not keep the others back
            spoiled = [block for block in blocks if not self._is_writable(block)]
            self._count_dropped(self._waiting.settle(spoiled))
            blocks[:] = [block for block in blocks if not any(block is bad for bad in spoiled)]
            batch = self._encode(blocks)
        if batch.num_rows:
            self._rotation.write(hour, batch)
            self._hand_on(batch)
        self.flushed += self._waiting.settle(blocks)

    def _hand_on(self, batch: pa.RecordBatch) -> None:
        """Give a written batch to who watches; whatever that does, the journal goes on."""
        if self._on_batch is None:
            return
        try:
            self._on_batch(batch)
        except Exception as error:
            self.batches_missed += 1
            self.last_missed = f"{type(error).__name__}: {error}"
            logger.debug("a batch that wasn't taken", exc_info=True)
            self._log("%d batches were journalled and not watched: %s", self.batches_missed, self.last_missed)
        else:
            self.last_missed = None

    def _is_writable(self, block: Block) -> bool:
        try:
            self._encode([block])
        except Exception as error:
            self._log("exchange not journalled: %s", error)
            return False
        return True

    def _tidy(self) -> None:
        """Archive closed segments; now and then take over orphans and remove what is too old."""
        now = time.monotonic()
        if now < self._archive_at:
            return
        try:
            self._rotation.archive_closed()
            if now >= self._clean_at:
                self._clean()
                self._clean_at = now + TIDY_SECONDS
        except Exception as error:
            self._archive_at = now + TIDY_SECONDS
            self._tidy_error = self._refused(error)
            return
        if self._tidy_error is not None:
            self._tidy_error = None
            self.last_error = self._write_error

    def _clean(self) -> None:
        if self.recovery is None:
            self.recovery = recover(self._folder)
            if self.recovery.segments:
                logger.info("journal of dead writers archived: segments=%d rows=%d bytes_cut=%d", *self.recovery)
        retain(self._folder, self._clock(), days=self._retention_days, n_bytes=self._retention_bytes,
               held=self._held())

    def _refused(self, error: Exception) -> str:
        self.errors += 1
        self.last_error = f"{type(error).__name__}: {error}"
        self._log("journal can't be written: %s; rows wait in memory, %d were dropped", error, self.dropped)
        return self.last_error

    def _log(self, message: str, *values: object) -> None:
        """Warn, once a minute at most."""
        if time.monotonic() >= self._log_at:
            self._log_at = time.monotonic() + LOG_SECONDS
            logger.warning(message, *values)

    def _count_dropped(self, n_rows: int) -> None:
        with self._dropping:
            self.dropped += n_rows

    def _after_fork(self) -> None:
        """The parent goes on with its rows, files and locks; the child starts afresh."""
        self._rotation.release()
        self._reset()


def _by_hour(blocks: list[Block]) -> dict[int, list[Block]]:
    """Exchanges by the second at which their hour starts."""
    times = [block.time for block in blocks]
    if (hour := _hour(min(times))) == _hour(max(times)):
        return {hour: blocks}
    hours: defaultdict[int, list[Block]] = defaultdict(list)
    for block in blocks:
        hours[_hour(block.time)].append(block)
    return hours


def _hour(time: float) -> int:
    """Impossible times go with 1970 until they are found out."""
    return int(time // HOUR) * HOUR if 0.0 <= time < LAST_TIME else 0


def _after_fork() -> None:
    for writer in list(_writers):
        writer._after_fork()


_writers: weakref.WeakSet[JournalWriter] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)

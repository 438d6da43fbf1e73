"""How many processes guard with one file: limits that each counts for itself would multiply."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from counterclone.errors import ConfigError

logger = logging.getLogger(__name__)


class WorkerSlot:
    """This process's place among `workers`, held by a file lock until it closes or dies.

    Args:
        path: the lock file, beside the configuration; slots add a number to it.
        workers: the processes that the configuration allows.

    Raises:
        ConfigError: as many processes guard with the file already.
    """

    def __init__(self, path: Path, workers: int) -> None:
        self.number = 0
        self._descriptor: int | None = None
        for number in range(workers):
            slot = path.with_name(f"{path.name}.{number}")
            try:
                self._descriptor = _lock(slot)
            except BlockingIOError:
                continue
            except OSError as error:
                logger.warning("%s: %s; other processes that guard with this file can't be seen, and each "
                               "would admit every limit in full", slot, error.strerror)
                return
            self.number = number
            return
        raise ConfigError(f"{workers} process(es) guard with this file already and limits are counted in each, "
                          f"so one more would exceed them; set [guard] workers to the number of processes")

    def close(self) -> None:
        """Give the place back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.close()


def _lock(path: Path) -> int:
    """The descriptor of a lock file, locked.

    Raises:
        BlockingIOError: another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor

"""Which configurations were in force, and when: reports have to say under what settings a figure was found."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import msgspec

from counterclone.config.sections import Config

logger = logging.getLogger(__name__)


def read_history(path: Path) -> list[dict[str, Any]]:
    """The events of a file, the first first, without lines that aren't events; none where there is no file."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    events = []
    for line in lines:
        try:
            event = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError):
            continue
        if isinstance(event, dict) and isinstance(event.get("time"), int | float):
            events.append(event)
    return events


def read_live(path: Path) -> list[dict[str, Any]]:
    """The events by which another configuration came into force, the first first: none for workers or new starts
    that go on with the one before.
    """
    live = [event for event in read_history(path) if event.get("event") == "live"]
    live.sort(key=lambda event: float(event["time"]))
    return [event for event, before in zip(live, [{}, *live], strict=False)
            if not before or event.get("digest") != before.get("digest")]


class History:
    """Appends a line of JSON for each configuration that comes into force, and one when it ends.

    It fails open: what can't be written is a warning, and traffic goes on.

    Args:
        path: the file, beside the configuration; it holds no secret.
        worker: this process's number among those that guard with the file.

    Attributes:
        last_error: what the disk says, None while all is well.
    """

    def __init__(self, path: Path, *, worker: int) -> None:
        self.last_error: str | None = None
        self._path = path
        self._worker = worker
        self._digest = ""
        self._is_torn = False

    def begin(self, config: Config, time: float, text: str = "") -> None:
        """A configuration comes into force; the one before it ends.

        Args:
            config: its settings.
            time: seconds since 1970.
            text: the file itself, to go back to; "" where nobody has it.
        """
        self.end(time)
        self._digest = config.digest()
        self._append({"time": time, "event": "live", "digest": self._digest, "worker": self._worker,
                      "config": config, **({"text": text} if text else {})})

    def end(self, time: float) -> None:
        """The one in force ends; nothing where it has."""
        if self._digest:
            self._append({"time": time, "event": "ended", "digest": self._digest, "worker": self._worker})
            self._digest = ""

    def _append(self, event: dict[str, object]) -> None:
        line = (b"\n" if self._is_torn else b"") + msgspec.json.encode(event) + b"\n"
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                written = os.write(descriptor, line)  # one write: other workers append to the same file
            finally:
                os.close(descriptor)
            self._is_torn = written < len(line)
            if self._is_torn:
                raise OSError(errno.ENOSPC, "the disk took half a line")
        except OSError as error:
            if self.last_error is None:
                logger.warning("%s: %s; what was in force isn't recorded", self._path, error.strerror)
            self.last_error = error.strerror or str(error)
        else:
            self.last_error = None

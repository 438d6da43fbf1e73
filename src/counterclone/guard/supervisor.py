"""Several gateways behind one port, kept running by a process that serves nothing itself.

Each is a process of its own that listens with SO_REUSEPORT, so that the system spreads connections over them, and
one that dies takes only its own along. What they share is the journal's folder, by a part for each, and, where
there is a store, the limits.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from counterclone.errors import WorkerFailed

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
REVIVE_SECONDS = 1.0
"""From one start of a worker to the next, so that one which can't start doesn't burn the machine."""
STOP_SECONDS = 30.0
"""Longer than a gateway takes to finish its requests; what still runs then is killed."""


class Supervisor:
    """Starts workers, starts those anew that die, and stops them all.

    Args:
        commands: how each is started; it prints one line of JSON once it listens.
        environment: theirs.
    """

    def __init__(self, commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> None:
        self._workers = [_Worker(command, environment) for command in commands]
        self._stopping = threading.Event()

    def start(self) -> list[dict[str, Any]]:
        """Start all, one after the other.

        Returns:
            What each printed.

        Raises:
            WorkerFailed: one ended before it listened; it has said why on standard error. None runs then.
        """
        try:
            return [worker.start() for worker in self._workers]
        except BaseException:
            self._end()
            raise

    def run(self) -> None:
        """Keep them running until SIGTERM or SIGINT; SIGHUP goes on to each."""
        handlers = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop, signal.SIGHUP: self._pass_on}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            while not self._stopping.wait(LOOK_SECONDS):
                for worker in self._workers:
                    worker.revive()
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        self._stopping.set()

    def _pass_on(self, number: int, frame: object) -> None:
        for worker in self._workers:
            worker.tell(number)

    def _end(self) -> None:
        for worker in self._workers:
            worker.tell(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        for worker in self._workers:
            worker.end(max(until - time.monotonic(), 0.0))


class _Worker:
    """One gateway: its command, and its process while there is one."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0

    def start(self) -> dict[str, Any]:
        process = self._spawn()
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            return msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            process.kill()
            raise WorkerFailed("a worker ended before it listened; it says why above", process.wait()) from None

    def revive(self) -> None:
        """Start it anew where it has died."""
        process = self._process
        if process is None or process.poll() is None or time.monotonic() - self._started_at < REVIVE_SECONDS:
            return
        logger.error("worker %d ended with %d; it is started anew", process.pid, process.returncode)
        self._spawn()

    def tell(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)

    def end(self, seconds: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            logger.error("worker %d doesn't stop; it is killed", self._process.pid)
            self._process.kill()
            self._process.wait()
        self._close_output()

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._close_output()
        self._started_at = time.monotonic()
        # A terminal's Ctrl+C is the supervisor's to pass on, so each worker has a group of its own.
        self._process = subprocess.Popen(  # noqa: S603 (our own command)
            self._command, env=self._environment, stdout=subprocess.PIPE, start_new_session=True)
        return self._process

    def _close_output(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()

"""A Redis server for tests and benchmarks, started from the system's package."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import redis

COMMAND = "redis-server"
START_SECONDS = 10.0


class Server:
    """A Redis server behind a socket of its own; it keeps nothing on disk.

    Args:
        folder: where the socket is.

    Attributes:
        url: its address.
    """

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            FileNotFoundError: it isn't installed.
            TimeoutError: it doesn't answer.
        """
        if shutil.which(COMMAND) is None:
            raise FileNotFoundError(f"{COMMAND} isn't installed; `apt-get install redis-server`")
        self._process = subprocess.Popen(  # noqa: S603 (our own command)
            [COMMAND, "--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL, cwd=self._socket.parent)
        with closing(redis.Redis.from_url(self.url)) as client:
            until = time.monotonic() + START_SECONDS
            while time.monotonic() < until:
                with suppress(redis.ConnectionError):
                    client.ping()
                    return
                time.sleep(0.01)
        raise TimeoutError(f"{COMMAND} doesn't answer")

    def kill(self) -> None:
        """Kill it, so that it forgets everything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it answer nobody, as behind a network that is cut."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self._signal(signal.SIGCONT)

    def clear(self) -> None:
        """Let it forget everything."""
        with closing(redis.Redis.from_url(self.url)) as client:
            client.flushall()

    def keys(self) -> list[bytes | str]:
        """The keys that it holds."""
        with closing(redis.Redis.from_url(self.url)) as client:
            found = client.keys()
            assert isinstance(found, list)
            return found

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

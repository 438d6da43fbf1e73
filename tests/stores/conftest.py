from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import redis

from counterclone.stores.shared import SharedLimits

SERVER = "redis-server"


class Server:
    """A Redis server behind a socket of its own; it keeps nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [SERVER, "--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL, cwd=self._socket.parent)
        with closing(redis.Redis.from_url(self.url)) as client:
            until = time.monotonic() + 10.0
            while time.monotonic() < until:
                with suppress(redis.ConnectionError):
                    client.ping()
                    return
                time.sleep(0.01)
        raise TimeoutError("redis-server doesn't answer")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def clear(self) -> None:
        with closing(redis.Redis.from_url(self.url)) as client:
            client.flushall()

    def keys(self) -> list[bytes | str]:
        with closing(redis.Redis.from_url(self.url)) as client:
            found = client.keys()
            assert isinstance(found, list)
            return found


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    assert shutil.which(SERVER), f"{SERVER} isn't installed; `apt-get install redis-server`"
    server = Server(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(shared_server: Server) -> Server:
    """An empty one."""
    shared_server.clear()
    return shared_server


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Server]:
    """One that may be killed."""
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


Trial = Callable[[SharedLimits], Awaitable[None]]


def with_limits(url: str, trial: Trial) -> None:
    """Run a trial in a loop of its own, and leave no connection."""
    async def run() -> None:
        limits = SharedLimits(url)
        try:
            await trial(limits)
        finally:
            await limits.disconnect()

    asyncio.run(run())

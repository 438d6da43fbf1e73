from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from counterclone.stores.shared import SharedLimits
from counterclone.testing.redis_server import Server


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
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

"""A language model's server, bare and behind the guard, for the clients of its users."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import NamedTuple

import uvicorn
from tests.guard.conftest import Build, Guarded

from counterclone.guard import asgi
from counterclone.testing.llm_server import LlmServer


class Served(NamedTuple):
    """The same model twice: the addresses, the server behind the guard, and the guard."""

    bare: str
    url: str
    server: LlmServer
    guarded: Guarded


@contextlib.contextmanager
def served(app: asgi.App) -> Iterator[str]:
    """Serve an app; its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def twice(guarded: Build, settings: str, *, columns: bool = True) -> Iterator[Served]:
    """Serve the model bare and behind a guard with these settings."""
    server = LlmServer(columns=columns)
    guard = guarded(server, settings)
    with served(LlmServer(columns=columns)) as bare, served(guard.guard) as url:
        yield Served(bare, url, server, guard)

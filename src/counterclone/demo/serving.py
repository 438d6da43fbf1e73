"""The demo's servers as processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from counterclone.errors import CountercloneError
from counterclone.guard import asgi

START_SECONDS = 180.0
STOP_SECONDS = 30.0
ANY_PORT = "127.0.0.1:0"


@contextlib.contextmanager
def serving(module: str, *arguments: str, seed: int) -> Iterator[str]:
    """Run a model's server, `python -m MODULE FD ARGUMENTS`, and give its address; it is stopped at the end.

    Raises:
        CountercloneError: it doesn't answer within three minutes.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        listener.set_inheritable(True)
        descriptor = listener.fileno()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = _start([module, str(descriptor), *arguments], {}, seed, pass_fds=[descriptor])
    with _stopping(process):
        _wait(address, process, module)
        yield address


@contextlib.contextmanager
def announced(module: str, *arguments: str, seed: int) -> Iterator[str]:
    """Run a server that finds a port by itself, `python -m MODULE ARGUMENTS`, and give the address that it prints.

    Raises:
        CountercloneError: it doesn't start.
    """
    process = _start([module, *arguments], {}, seed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with _stopping(process):
        yield _first_line(process, module)


@contextlib.contextmanager
def guarding(target: str, config: Path, *, seed: int) -> Iterator[str]:
    """Run the gateway before a server, `counterclone guard`, and give its address; it is stopped at the end.

    Raises:
        CountercloneError: it doesn't start.
    """
    process = _start(["counterclone", "guard", "--config", str(config), "--listen", ANY_PORT, "--admin", ANY_PORT,
                      "--json"], {"COUNTERCLONE_TARGET_URL": target}, seed, stdout=subprocess.PIPE)
    with _stopping(process):
        yield json.loads(_first_line(process, "counterclone guard"))["listen"]


def serve(app: asgi.App, descriptor: int) -> None:
    """Serve an app on a socket that the parent process listens on."""
    import uvicorn

    # By descriptor, uvicorn would take the socket for a Unix one and leave Nagle's delay on.
    listener = socket.socket(fileno=descriptor)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def _start(module: Sequence[str], variables: Mapping[str, str], seed: int,
           **options: Any) -> subprocess.Popen[bytes]:
    """Python's `-m`; a guard's secret is the seed's, so that a run can be repeated; a real one must not be."""
    ambient = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERCLONE_")}
    return subprocess.Popen(  # noqa: S603 (ourselves)
        [sys.executable, "-m", *module],
        env={**ambient, "COUNTERCLONE_SECRET": f"demo {seed}", **variables}, **options)


@contextlib.contextmanager
def _stopping(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=STOP_SECONDS)


def _wait(address: str, process: subprocess.Popen[bytes], module: str) -> None:
    import httpx

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(address, timeout=1.0)
            return
        time.sleep(0.05)
    raise _not_started(module)


def _first_line(process: subprocess.Popen[bytes], module: str) -> str:
    """What a server says once it listens.

    Raises:
        CountercloneError: it ends before.
    """
    assert process.stdout is not None  # it was asked for; for the type checker
    with process.stdout as output:
        line = output.readline().decode().strip()
    if not line:
        raise _not_started(module)
    return line


def _not_started(module: str) -> CountercloneError:
    return CountercloneError(f"the demo's server `python -m {module}` didn't start; run it by itself to see why")

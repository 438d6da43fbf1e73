"""The demo's server as a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from counterclone.errors import CountercloneError

ROUTE = "/v1/models/digits:predict"
START_SECONDS = 60.0


@contextlib.contextmanager
def serving(seed: int, config: Path | None = None) -> Iterator[str]:
    """Run the model's server, bare or guarded, and give its address; it is stopped at the end.

    The guard's secret is the seed's, so that a run can be repeated; a real one must not be.

    Raises:
        CountercloneError: it doesn't answer within a minute.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        listener.set_inheritable(True)
        arguments = [str(listener.fileno()), str(seed), *([str(config)] if config else [])]
        process = subprocess.Popen(  # noqa: S603 (ourselves)
            [sys.executable, "-m", "counterclone.demo.server", *arguments], pass_fds=[listener.fileno()],
            env={**os.environ, "COUNTERCLONE_SECRET": f"demo {seed}"})
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        _wait(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    import httpx

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(address, timeout=1.0)
            return
        time.sleep(0.05)
    raise CountercloneError(f"the demo's server at {address} didn't start; run `python -m "
                            "counterclone.demo.server` by itself to see why")

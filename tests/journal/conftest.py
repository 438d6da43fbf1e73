from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from counterclone.journal import Exchange, JournalFolder

NOON = 1_764_158_400.0  # 2025-11-26T12:00:00Z


@pytest.fixture(scope="session")
def make_exchange() -> Callable[..., Exchange]:
    """One request; its rows have the digests `digest`, `digest + 1`, ..."""

    def make(digest: int, *, time: float = NOON, n_rows: int = 1, d: int = 3,
             payload: bytes | None = None) -> Exchange:
        return Exchange(
            time=time, account="0123456789abcdef", account_class="", dialect="oip", model="credit",
            decision="served", status=200, digests=range(digest, digest + n_rows),
            labels=np.full(n_rows, 1), margins=np.full(n_rows, 0.5), n_classes=2, bits=8.0,
            features=np.full((n_rows, d), 0.25), payloads=None if payload is None else [payload] * n_rows)

    return make


@pytest.fixture(scope="session")
def digests_in() -> Callable[[Path], list[int]]:
    """The digests of a journal's rows by time, as DuckDB and as a replay see them."""

    def read(path: Path) -> list[int]:
        folder = JournalFolder(path)
        with folder.connect() as connection:
            queried = [row[0] for row in connection.execute(
                "SELECT digest FROM exchanges ORDER BY time, digest").fetchall()]
        assert folder.problems == []
        replayed = [digest for batch in folder.batches() for digest in batch.column("digest").to_pylist()]
        assert sorted(replayed) == sorted(queried)
        return queried

    return read


Disk = tuple[Path, Callable[[], None], Callable[[], None]]


@pytest.fixture(params=["tmpfs", "file size"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A folder whose files hold less than 1 MB, what takes the room that is left, and what makes room.

    It is a small file system where mounting is allowed; else, and beside it, a limit on the size of files.
    """
    with contextlib.ExitStack() as stack:
        is_mounted = request.param == "tmpfs" and _is_mounted(tmp_path, stack)
        yield tmp_path / "journal", *(_of_mount(tmp_path) if is_mounted else _of_limit(stack))


def _is_mounted(folder: Path, stack: contextlib.ExitStack) -> bool:
    if os.geteuid() != 0 or not _succeeds("mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)):
        return False
    stack.callback(_succeeds, "umount", "--lazy", str(folder))
    return True


def _of_mount(folder: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    filler = folder / "filler"

    def fill() -> None:
        with contextlib.suppress(OSError):
            filler.write_bytes(bytes(2 << 20))

    def free() -> None:
        filler.unlink(missing_ok=True)
        assert _succeeds("mount", "-o", "remount,size=64m", str(folder))

    return fill, free


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _of_limit(stack: contextlib.ExitStack) -> tuple[Callable[[], None], Callable[[], None]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))

    def free() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    stack.callback(free)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    return fill, free

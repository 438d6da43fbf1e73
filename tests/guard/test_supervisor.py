from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from counterclone.errors import WorkerFailed
from counterclone.guard.supervisor import Supervisor

WORKER = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
signal.signal(signal.SIGHUP, lambda *_: (folder / f"hup-{os.getpid()}").touch())
(folder / f"pid-{os.getpid()}").touch()
print(json.dumps({"pid": os.getpid()}), flush=True)
time.sleep(60)
"""
SECONDS = 15.0


def supervisor(folder: Path, n: int = 2, program: str = WORKER) -> Supervisor:
    return Supervisor([(sys.executable, "-c", program, str(folder))] * n, os.environ)


def until(folder: Path, pattern: str, n: int) -> list[int]:
    """The processes that left such a mark, once there are so many."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = [int(path.name.partition("-")[2]) for path in folder.glob(pattern)]
        if len(found) >= n:
            return found
        time.sleep(0.02)
    raise TimeoutError(pattern)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_keeps_workers_running_and_stops_them(tmp_path: Path) -> None:
    workers = supervisor(tmp_path)
    pids = [each["pid"] for each in workers.start()]
    assert len(set(pids)) == 2
    seen: list[list[int]] = []

    def trouble() -> None:
        try:
            os.kill(os.getpid(), signal.SIGHUP)
            seen.append(until(tmp_path, "hup-*", 2))
            os.kill(pids[0], signal.SIGKILL)
            seen.append(until(tmp_path, "pid-*", 3))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Timer(0.3, trouble)
    thread.start()
    workers.run()
    thread.join()
    assert sorted(seen[0]) == sorted(pids)
    assert len(seen[1]) == 3
    assert not any(map(is_running, seen[1]))


def test_one_that_cannot_start_stops_all(tmp_path: Path) -> None:
    program = f"import pathlib, sys\nif len(list(pathlib.Path(sys.argv[1]).glob('pid-*'))): sys.exit(7)\n{WORKER}"
    with pytest.raises(WorkerFailed) as failed:
        supervisor(tmp_path, program=program).start()
    assert failed.value.exit_code == 7
    assert not any(map(is_running, until(tmp_path, "pid-*", 1)))


def test_one_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterclone.guard.supervisor.STOP_SECONDS", 0.3)
    program = WORKER.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")
    workers = supervisor(tmp_path, n=1, program=program)
    pid = workers.start()[0]["pid"]
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    workers.run()
    assert not is_running(pid)

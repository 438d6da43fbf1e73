"""`counterclone guard --workers`: processes that are one gateway to callers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cli.running import failure, json_output, write
from tests.stores.conftest import shared_server  # noqa: F401 (a fixture)

from counterclone.testing.redis_server import Server

PATH = "/v2/models/iris/infer"
QUERY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}
SETTINGS = """\
[target]
url = "%s"
[guard]
limit_queries_per_minute = 0
limit_queries_per_day = 20
[[guard.policy]]
kind = "noise"
scale = 0.5
[store]
url_env = "STORE_URL"
lease = 0.0
"""


@contextlib.contextmanager
def guarding(workers: int) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "counterclone", "guard", "--json", "--listen", "127.0.0.1:0", "--admin",
               "127.0.0.1:0", "--workers", str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as gateways:
        try:
            assert gateways.stdout is not None
            yield json.loads(gateways.stdout.readline())
            gateways.terminate()
            assert gateways.wait(timeout=40) == 0
        finally:
            gateways.kill()


def ask(listen: str, key: str) -> httpx.Response:
    """Over a connection of its own, which may come to any worker."""
    return httpx.post(f"{listen}{PATH}", json=QUERY, headers={"authorization": f"Bearer {key}"}, timeout=30.0)


def pid_of(slot: Path) -> int:
    """The process that holds a worker's lock file."""
    inode = slot.stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if fields[5].endswith(f":{inode}"):
            return int(fields[4])
    raise ProcessLookupError(slot)


@pytest.mark.usefixtures("shared_server")
def test_workers_are_one_gateway_also_when_one_dies(
        server: str, shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    shared_server.clear()
    monkeypatch.setenv("STORE_URL", shared_server.url)
    write(SETTINGS % server)
    with guarding(2) as found:
        assert len(set(found["admin"])) == 2
        assert all(httpx.get(f"{admin}/readyz").json()["ready"] for admin in found["admin"])
        answers = [ask(found["listen"], "ann") for _ in range(24)]
        assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 4
        assert len({answer.text for answer in answers[:20]}) == 1
        assert sum(metric(admin, "counterclone_queries_total") for admin in found["admin"]) == 20
        assert all(metric(admin, "counterclone_queries_total") for admin in found["admin"])

        slot = Path("counterclone.lock.1")
        os.kill(killed := pid_of(slot), signal.SIGKILL)
        until = time.monotonic() + 30.0
        statuses = []
        while time.monotonic() < until and not revived(slot, killed):
            with contextlib.suppress(httpx.TransportError):  # those connections that the dead one had accepted
                statuses.append(ask(found["listen"], f"bob {time.monotonic()}").status_code)
            time.sleep(0.05)
        assert revived(slot, killed)
        assert set(statuses) == {200}
    assert len(json_output("watch")["accounts"]) >= 2


def test_workers_do_not_outlive_who_started_them(server: str) -> None:
    write(f"[target]\nurl = '{server}'\n[guard]\nlimit_queries_per_minute = 2")
    command = [sys.executable, "-m", "counterclone", "guard", "--json", "--listen", "127.0.0.1:0", "--admin",
               "127.0.0.1:0", "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as gateways:
        assert gateways.stdout is not None
        admins = json.loads(gateways.stdout.readline())["admin"]
        gateways.kill()
    until = time.monotonic() + 30.0
    while admins and time.monotonic() < until:
        time.sleep(0.1)
        admins = [admin for admin in admins if is_up(admin)]
    assert not admins


def is_up(admin: str) -> bool:
    try:
        return httpx.get(f"{admin}/livez").is_success
    except httpx.TransportError:
        return False


def revived(slot: Path, killed: int) -> bool:
    try:
        return pid_of(slot) != killed
    except ProcessLookupError:
        return False


def metric(admin: str, name: str) -> float:
    lines = httpx.get(f"{admin}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def test_mistakes_are_told_once_and_nothing_runs() -> None:
    write("[target]\nurl = 'http://127.0.0.1:9'\n[guard]\nlimit_queries_per_minute = 1")
    assert failure("guard", "--workers", "2", "--listen", "nowhere") == [
        "counterclone: [guard] listen = nowhere: expected host:port such as 127.0.0.1:8000 or [::1]:8000"]
    assert failure("guard", "--workers", "2", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0") == [
        "counterclone: a worker ended before it listened; it says why above"]

"""Requests a second with the guard over without, on uvicorn, loaded by wrk; the variants take turns."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
import psutil

from benchmarks import apps, results

ROUNDS, SECONDS, CONNECTIONS, WARM_UP_SECONDS = 5, 3, 32, 8
FLOORS = {"fastapi": 0.88, "trivial": 0.65}
SETTINGS = {
    "default": """\
[guard]
limit_queries_per_minute = 1000000000
""",
    "rounding": """\
[guard]
limit_queries_per_minute = 1000000000

[[guard.policy]]
kind = "rounding"
decimals = 2
""",
}
"""Both keep a journal, metrics and a limit that is never reached; only the second reads answers on the path."""
SCRIPT = """\
wrk.method = "POST"
wrk.body = '%s'
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer bench"
"""


class Server(NamedTuple):
    address: str
    process: psutil.Process


class Round(NamedTuple):
    requests_per_second: float
    cpu_microseconds: float


@contextlib.contextmanager
def serving(app: str, config: Path | None) -> Iterator[Server]:
    """One app in a process of its own, on the first core where there are several."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        listener.set_inheritable(True)
        arguments = [str(listener.fileno()), app, *([str(config)] if config else [])]
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.apps", *arguments],
                                   pass_fds=[listener.fileno()])
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/predict"
    try:
        server = psutil.Process(process.pid)
        if (os.cpu_count() or 1) > 1:
            server.cpu_affinity([0])
        yield Server(address, server)
    finally:
        process.terminate()
        process.wait(timeout=30)


def load(server: Server, script: Path, seconds: int) -> Round:
    before = sum(server.process.cpu_times()[:2])
    pin = ["taskset", "-c", "1"] if (os.cpu_count() or 1) > 1 else []
    text = subprocess.run([*pin, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script),
                           server.address], check=True, capture_output=True, text=True).stdout
    spent = sum(server.process.cpu_times()[:2]) - before
    total = re.search(r"^\s*(\d+) requests in", text, re.MULTILINE)
    rate = re.search(r"^Requests/sec:\s*([\d.]+)", text, re.MULTILINE)
    if total is None or rate is None or "Non-2xx" in text or not int(total[1]):
        raise RuntimeError(f"wrk's run failed:\n{text}")
    return Round(float(rate[1]), 1e6 * spent / int(total[1]))


def compare(app: str) -> list[dict[str, object]]:
    """The guarded apps over the bare one: medians over rounds in alternating order."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        script = Path(folder, "post.lua")
        body = orjson.dumps({"instances": [[i / 16 for i in range(apps.N_FEATURES)]]}).decode()
        script.write_text(SCRIPT % body, encoding="utf-8")
        servers = {"bare": stack.enter_context(serving(app, None))}
        for name, text in SETTINGS.items():
            config = Path(folder, name, "counterclone.toml")
            config.parent.mkdir()
            config.write_text(text, encoding="utf-8")
            servers[name] = stack.enter_context(serving(app, config))
        time.sleep(WARM_UP_SECONDS)
        for server in servers.values():
            load(server, script, 1)
        rounds: dict[str, list[Round]] = {name: [] for name in servers}
        for number in range(ROUNDS):
            order = list(servers) if number % 2 == 0 else list(reversed(servers))
            for name in order:
                rounds[name].append(load(servers[name], script, SECONDS))
    return [row(app, name, rounds["bare"], rounds[name]) for name in SETTINGS]


def row(app: str, settings: str, bare: list[Round], guarded: list[Round]) -> dict[str, object]:
    ratios = [after.requests_per_second / before.requests_per_second
              for before, after in zip(bare, guarded, strict=True)]
    before, after = (statistics.median(each.cpu_microseconds for each in of) for of in (bare, guarded))
    return {"app": app, "settings": settings, "ratio": round(statistics.median(ratios), 3),
            "ratio_low": round(min(ratios), 3), "ratio_high": round(max(ratios), 3), "at_least": FLOORS[app],
            "cpu_us_bare": round(before, 1), "cpu_us_guarded": round(after, 1),
            "cpu_us_added": round(after - before, 1)}


def run() -> results.Result:
    if shutil.which("wrk") is None:
        raise SystemExit("the load generator wrk isn't installed; on Debian: apt-get install wrk")
    return results.Result("guard_overhead", [row for app in FLOORS for row in compare(app)])


if __name__ == "__main__":
    results.show(run())

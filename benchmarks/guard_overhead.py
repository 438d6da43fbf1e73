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

ROUNDS, SECONDS, CONNECTIONS = 5, 3, 32
FLOORS = {"fastapi": 0.88, "trivial": 0.65}
CONFIG = """\
[guard]
limit_queries_per_minute = 1000000000

[[guard.policy]]
kind = "rounding"
decimals = 2
"""
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


def compare(app: str) -> dict[str, object]:
    """The guarded app over the bare one: medians over rounds in alternating order."""
    with tempfile.TemporaryDirectory() as folder:
        config, script = Path(folder, "counterclone.toml"), Path(folder, "post.lua")
        config.write_text(CONFIG, encoding="utf-8")
        body = orjson.dumps({"instances": [[i / 16 for i in range(apps.N_FEATURES)]]}).decode()
        script.write_text(SCRIPT % body, encoding="utf-8")
        rounds: dict[str, list[Round]] = {"bare": [], "guarded": []}
        with serving(app, None) as bare, serving(app, config) as guarded:
            servers = {"bare": bare, "guarded": guarded}
            time.sleep(3)
            for server in servers.values():
                load(server, script, 1)
            for number in range(ROUNDS):
                order = list(servers) if number % 2 == 0 else list(reversed(servers))
                for name in order:
                    rounds[name].append(load(servers[name], script, SECONDS))
    ratios = [guarded.requests_per_second / bare.requests_per_second
              for bare, guarded in zip(rounds["bare"], rounds["guarded"], strict=True)]
    cpu = {name: statistics.median(each.cpu_microseconds for each in of) for name, of in rounds.items()}
    return {"app": app, "ratio": round(statistics.median(ratios), 3), "ratio_low": round(min(ratios), 3),
            "ratio_high": round(max(ratios), 3), "at_least": FLOORS[app],
            "cpu_us_bare": round(cpu["bare"], 1), "cpu_us_guarded": round(cpu["guarded"], 1),
            "cpu_us_added": round(cpu["guarded"] - cpu["bare"], 1)}


def run() -> results.Result:
    if shutil.which("wrk") is None:
        raise SystemExit("the load generator wrk isn't installed; on Debian: apt-get install wrk")
    return results.Result("guard_overhead", [compare(app) for app in FLOORS])


if __name__ == "__main__":
    results.show(run())

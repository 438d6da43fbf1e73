"""The gateway against nginx as a plain reverse proxy, and against its own proxy without the guard.

One worker each, in turns, under wrk; the upstream is nginx with a constant answer of 1 KB. Needs nginx and wrk.
"""

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
from counterclone.guard import asgi
from counterclone.guard.proxy import Proxy

ROUNDS, SECONDS, CONNECTIONS, WARM_UP_SECONDS = 5, 3, 32, 4
AT_LEAST, AT_MOST_CPU_US, AT_MOST_P50_MS = 0.12, 70.0, 1.0
NGINX = """\
worker_processes 1; daemon off; master_process off; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; keepalive_requests 1000000000;
  {http}
}}
"""
UPSTREAM = "default_type application/json; server {{ listen {port}; location / {{ return 200 '{answer}'; }} }}"
REVERSE = """upstream up {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{ listen {port}; location / {{ proxy_pass http://up; proxy_http_version 1.1;
  proxy_set_header Connection ""; }} }}"""
SETTINGS = """\
[target]
url = "http://127.0.0.1:{upstream}"

[guard]
limit_queries_per_minute = 1000000000
limit_queries_per_day = 1000000000000

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


class System(NamedTuple):
    """A server under test, on a core of its own."""

    port: int
    process: psutil.Process


class Round(NamedTuple):
    """What wrk saw, and what it cost."""

    requests_per_second: float
    cpu_microseconds: float
    p50_ms: float


def run() -> results.Result:
    """Everything on against nginx and against no guard."""
    for tool in ("wrk", "nginx"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} isn't installed; on Debian: apt-get install {tool}")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        script = Path(folder, "post.lua")
        script.write_text(SCRIPT % orjson.dumps({"instances": [[i / 16 for i in range(16)]]}).decode())
        upstream = stack.enter_context(nginx(Path(folder, "upstream"), UPSTREAM, core=1,
                                             answer=apps.ANSWER.decode()))
        systems = {
            "upstream": upstream,
            "nginx": stack.enter_context(nginx(Path(folder, "reverse"), REVERSE, core=0, upstream=upstream.port)),
            "plain": stack.enter_context(python("plain", f"http://127.0.0.1:{upstream.port}")),
            "plain on granian": stack.enter_context(granian(f"http://127.0.0.1:{upstream.port}")),
            "gateway": stack.enter_context(python("gateway", settings(Path(folder), upstream.port)))}
        time.sleep(WARM_UP_SECONDS)
        for system in systems.values():
            load(system, script, 1, CONNECTIONS)
        many: dict[str, list[Round]] = {name: [] for name in systems}
        one: dict[str, list[Round]] = {name: [] for name in systems}
        for number in range(ROUNDS):
            for name in list(systems) if number % 2 == 0 else list(reversed(systems)):
                many[name].append(load(systems[name], script, SECONDS, CONNECTIONS))
                one[name].append(load(systems[name], script, 1, 1))
    return results.Result("gateway", [row(name, many, one) for name in systems])


def row(name: str, many: dict[str, list[Round]], one: dict[str, list[Round]]) -> dict[str, object]:
    """Medians over rounds; the ratio's least and largest."""
    ratios = [own.requests_per_second / nginx.requests_per_second
              for own, nginx in zip(many[name], many["nginx"], strict=True)]
    cpu, plain = (statistics.median(each.cpu_microseconds for each in many[of]) for of in (name, "plain"))
    added = [own.p50_ms - bare.p50_ms for own, bare in zip(one[name], one["upstream"], strict=True)]
    is_ours = name == "gateway"
    return {"system": name, "to_nginx": round(statistics.median(ratios), 3), "low": round(min(ratios), 3),
            "high": round(max(ratios), 3), "at_least": AT_LEAST if is_ours else None, "cpu_us": round(cpu, 1),
            "cpu_us_over_plain": round(cpu - plain, 1), "at_most_cpu": AT_MOST_CPU_US if is_ours else None,
            "p50_added_ms": round(statistics.median(added), 3), "at_most_p50": AT_MOST_P50_MS if is_ours else None}


def settings(folder: Path, upstream: int) -> str:
    """The gateway's file: limits, rounding, journal and metrics."""
    path = folder / "gateway" / "counterclone.toml"
    path.parent.mkdir()
    path.write_text(SETTINGS.format(upstream=upstream), encoding="utf-8")
    return str(path)


@contextlib.contextmanager
def granian(target: str) -> Iterator[System]:
    """The bare proxy on the other server; its worker is a child process."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port),
         "--no-access-log", "--log-level", "error", "benchmarks.gateway:bare"],
        env={**os.environ, "BENCHMARK_TARGET": target})
    yield from _held(process, port, 0)


def free_port() -> int:
    """A port that was free just now, for servers that want a number."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def nginx(folder: Path, http: str, *, core: int, **values: object) -> Iterator[System]:
    """One nginx process without a master."""
    folder.mkdir()
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, http=http.format(port=port, **values)), encoding="utf-8")
    process = subprocess.Popen(["nginx", "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL)
    yield from _held(process, port, core)


@contextlib.contextmanager
def python(kind: str, argument: str) -> Iterator[System]:
    """The proxy, bare or guarded, in a process of its own."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.gateway", kind, argument],
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    yield from _held(process, port, 0)


def _held(process: subprocess.Popen[str] | subprocess.Popen[bytes], port: int, core: int) -> Iterator[System]:
    try:
        server = psutil.Process(process.pid)
        if (os.cpu_count() or 1) > 1:
            server.cpu_affinity([core])  # its children's too
        yield System(port, server)
    finally:
        process.terminate()
        process.wait(timeout=60)


def load(system: System, script: Path, seconds: int, connections: int) -> Round:
    """Run wrk once."""
    before = spent_seconds(system)
    pin = ["taskset", "-c", "1"] if (os.cpu_count() or 1) > 1 else []
    text = subprocess.run([*pin, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
                           "--timeout", "30s", "-s", str(script), f"http://127.0.0.1:{system.port}/predict"],
                          check=True, capture_output=True, text=True).stdout
    spent = spent_seconds(system) - before
    total = re.search(r"^\s*(\d+) requests in", text, re.MULTILINE)
    rate = re.search(r"^Requests/sec:\s*([\d.]+)", text, re.MULTILINE)
    middle = re.search(r"^\s+50%\s+([\d.]+)(us|ms|s)", text, re.MULTILINE)
    if total is None or rate is None or middle is None or "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"wrk's run failed:\n{text}")
    return Round(float(rate[1]), 1e6 * spent / int(total[1]),
                 float(middle[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[middle[2]])


def spent_seconds(system: System) -> float:
    """CPU seconds of a server and its children so far."""
    family = [system.process, *system.process.children(recursive=True)]
    return sum(sum(each.cpu_times()[:2]) for each in family)


def bare_proxy(target: str) -> Proxy:
    """The gateway's proxy without the guard."""
    return Proxy(target, connect_seconds=5.0, answer_seconds=60.0, limit_connections=1000)


_bare: list[Proxy] = []


async def bare(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """The bare proxy as a module's app, made where it is first called: in granian's worker."""
    if not _bare:
        _bare.append(bare_proxy(os.environ["BENCHMARK_TARGET"]))
    await _bare[0](scope, receive, send)


def serve(kind: str, argument: str) -> None:
    """The child: `plain URL` or `gateway FILE`; prints its port."""
    from prometheus_client import CollectorRegistry

    from counterclone.compose.gateway import gateway
    from counterclone.guard.admin import Admin
    from counterclone.guard.gateway import Gateway
    from counterclone.guard.sockets import listen

    registry = CollectorRegistry()
    if kind == "gateway":
        with gateway(Path(argument), public="127.0.0.1:0", private="127.0.0.1:0", registry=registry) as listening:
            print(listening.public.getsockname()[1], flush=True)
            listening.run()
        return
    proxy = bare_proxy(argument)
    plain = Gateway(proxy, Admin(registry, list), proxy, registry=registry, request_seconds=30.0, forwarders=(),
                    refresh=lambda force: None)
    public, private = listen("127.0.0.1:0", "public"), listen("127.0.0.1:0", "private")
    print(public.getsockname()[1], flush=True)
    plain.run(public, private)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        serve(*sys.argv[1:])
    else:
        results.show(run())

"""The guard's own CPU a request, in a tight loop without a server: the path's thread and the journal's apart.

Between the socket calls of a loaded server the same code takes longer (see `guard_overhead`), but a loop is quiet
enough to tell a microsecond.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import orjson
from prometheus_client import CollectorRegistry

from benchmarks import apps, results
from benchmarks.guard_overhead import SETTINGS
from counterclone import Guard
from counterclone.guard import asgi

N_REQUESTS, WARM_UP, ROUNDS = 20_000, 2_000, 7
BODY = orjson.dumps({"instances": [[i / 16 for i in range(apps.N_FEATURES)]]})


def ask(app: asgi.App, body: bytes = BODY) -> None:
    """One request; nothing on its way ever waits for another."""
    async def receive() -> asgi.Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: asgi.Message) -> None:
        pass

    headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json"),
               (b"authorization", b"Bearer bench"), (b"content-length", b"%d" % len(body))]
    scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
             "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 4321), "scheme": "http", "root_path": "",
             "headers": headers, "state": {}, "method": "POST", "path": "/predict",
             "raw_path": b"/predict", "query_string": b""}
    coroutine = app(scope, receive, send)
    try:
        coroutine.send(None)  # type: ignore[attr-defined]
    except StopIteration:
        return
    raise RuntimeError("a request waited")


def measure(app: asgi.App, n_requests: int) -> tuple[float, float]:
    """CPU microseconds a request: of this thread, and of all others."""
    mine, all_threads = time.thread_time(), time.process_time()
    for _ in range(n_requests):
        ask(app)
    mine = time.thread_time() - mine
    time.sleep(1.2)  # until the journal has written the last of them
    return 1e6 * mine / n_requests, 1e6 * (time.process_time() - all_threads - mine) / n_requests


def run() -> results.Result:
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, text in SETTINGS.items():
            config = Path(folder, name, "counterclone.toml")
            config.parent.mkdir()
            config.write_text(text, encoding="utf-8")
            guard = Guard(apps.trivial, config, registry=CollectorRegistry())
            measure(guard, WARM_UP)
            bare, rounds = [], []
            for _ in range(ROUNDS):
                bare.append(measure(apps.trivial, N_REQUESTS)[0])
                rounds.append(measure(guard, N_REQUESTS))
            guard.close()
            path, journal = (statistics.median(each[part] for each in rounds) for part in (0, 1))
            rows.append({"settings": name, "path_us": round(path - statistics.median(bare), 1),
                         "path_us_least": round(min(each[0] for each in rounds) - min(bare), 1),
                         "journal_us": round(journal, 1)})
    return results.Result("guard_loop", rows)


if __name__ == "__main__":
    results.show(run())

"""How soon a browser paints the console's pages where a hundred thousand accounts are remembered.

A gateway's private port on the loopback, a Chromium without a cache, ten loads of each page; what the page itself
takes is CPU of the server's process. The login page, which knows nothing, is the baseline. The account's page is
the one whose pictures are drawn for each visit.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import uvicorn
from playwright.sync_api import Page, sync_playwright
from prometheus_client import CollectorRegistry

from benchmarks import results
from benchmarks.watch_cost import reference_of
from counterclone import Guard
from counterclone.compose.console import console
from counterclone.guard import asgi
from counterclone.guard.metrics import metrics_of
from counterclone.guard.sockets import listen
from counterclone.populations import beds, honest
from counterclone.randomness import Prf
from counterclone.report.chromium import NAMES
from counterclone.watch.engine import Engine
from counterclone.watch.sources import Traffic

N_ACCOUNTS, N_REFERENCE, N_PEOPLE = 100_000, 3000, 5000
QUERIES = 10
"""Of each account."""
LOADS, MOST_MS = 10, 300.0
PAINTS = "performance.getEntriesByName('first-contentful-paint').map(entry => entry.startTime)"
TOKEN = "a token of the benchmark"


def run() -> results.Result:
    engine = crowd()
    with tempfile.TemporaryDirectory() as folder:
        guard = Guard(app, folder_of(Path(folder)), registry=(registry := CollectorRegistry()))
        guard.watching.resume(engine)
        socket = listen("127.0.0.1:0", "the benchmark")
        server = uvicorn.Server(uvicorn.Config(console(guard, Path(folder) / "counterclone.toml",
                                                       metrics_of(registry)), lifespan="off", log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
        thread.start()
        try:
            rows = look(f"http://127.0.0.1:{socket.getsockname()[1]}", engine)
        finally:
            server.should_exit = True
            thread.join()
            guard.close()
    return results.Result("console", rows)


def crowd() -> Engine:
    """A watch that remembers all accounts, by the default detectors."""
    bed = beds.load("digits")
    people = honest.population(bed, N_PEOPLE, seed=1, part="evaluation")
    ranks = people.exchanges.ranks()
    first = people.exchanges.select(np.flatnonzero(ranks < QUERIES))
    reference = reference_of(honest.population(bed, N_REFERENCE, seed=0, part="calibration"))
    engine = Engine(reference, None, Prf.from_secret("benchmark"), false_alarms_per_year=12.0,
                    max_accounts=2 * N_ACCOUNTS, tell=lambda accounts, evidence, campaign: None)
    for start in range(0, N_ACCOUNTS, N_PEOPLE):
        names = [f"{start + number:016x}" for number in range(N_PEOPLE)]
        engine.take(Traffic(names, first, [""] * N_PEOPLE, [{}] * N_PEOPLE))
    assert len(engine.monitor.table) == N_ACCOUNTS
    return engine


def folder_of(folder: Path) -> Path:
    path = folder / "counterclone.toml"
    path.write_text("")
    (folder / "counterclone.console").write_text(TOKEN.ljust(32, "."))
    (folder / "counterclone.console").chmod(0o600)
    return path


async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """A model server that nobody asks."""


def look(url: str, engine: Engine) -> list[dict[str, object]]:
    name = engine.monitor.table.names[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=next(filter(None, map(shutil.which, NAMES))),
                                             args=["--no-sandbox"])
        page = browser.new_page(base_url=url)
        page.goto("/login")
        page.get_by_label("Your name").fill("ann")
        page.get_by_label("Token").fill(TOKEN.ljust(32, "."))
        page.get_by_role("button", name="Log in").click()
        rows = [row(page, what, path) for what, path in {
            "log in": "/login", "accounts": "/accounts", "the last of 2,000 pages": "/accounts?page=2000",
            "accounts by name": "/accounts?containing=00ff", "overview": "/",
            "one account": f"/account?name={name}"}.items()]
        browser.close()
    return rows


def row(page: Page, what: str, path: str) -> dict[str, object]:
    paints, cpu = [], []
    for _ in range(LOADS):
        begun = time.process_time()
        page.goto(path)
        while not (found := page.evaluate(PAINTS)):  # to wait in the page takes a script, which it forbids
            page.wait_for_timeout(5)
        paints.append(float(found[0]))
        cpu.append(1e3 * (time.process_time() - begun))
    return {"page": what, "accounts": N_ACCOUNTS, "first_paint_ms": round(statistics.median(paints)),
            "least": round(min(paints)), "largest": round(max(paints)), "at_most": round(MOST_MS),
            "cpu_ms": round(statistics.median(cpu)), "kilobytes": round(len(page.content()) / 1000)}


if __name__ == "__main__":
    results.show(run())

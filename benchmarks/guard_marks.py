"""What a mark adds in the guard, the ledger included: CPU and wall time an answer, in a loop without a server.

Both are over the same guard without a mark in the same process. An answer with a marked row waits for the disk
before it leaves; the others don't. The highest rate is there to have enough of these to time. Where others use the
machine, read the CPU, and the least of the rounds.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from benchmarks import apps, results
from benchmarks.guard_loop import ask
from counterclone import Guard
from counterclone.guard import asgi
from counterclone.randomness import generator

ROUNDS, WARM_UP = 9, 500
AT_MOST_US = 200.0
"""Asked of an answer, the log included."""
FOLDER = Path(__file__).parent
"""Where the ledger is while it is timed: temporary folders may be in memory, where nothing waits for a disk."""
PLAIN = """\
[guard]
limit_queries_per_minute = 1000000000
"""
POLICY = """
[[guard.policy]]
kind = "rounding"
decimals = 2
"""


class Load(NamedTuple):
    """What is asked.

    Attributes:
        rows: of a request.
        requests: of a round.
        rate: of marks.
        policies: further settings.
    """

    rows: int
    requests: int
    rate: float
    policies: str = ""


LOADS = (Load(1, 3_000, 0.002), Load(1, 3_000, 0.002, POLICY), Load(1, 600, 0.05), Load(100, 100, 0.002))


class Times(NamedTuple):
    """One round.

    Attributes:
        cpu: microseconds of each answer, of this thread, (n,).
        wall: the same by the clock, (n,).
        others: CPU an answer of all other threads: journal and disk.
        waited: which answers had a marked row in them, (n,).
    """

    cpu: NDArray[np.float64]
    wall: NDArray[np.float64]
    others: float
    waited: NDArray[np.bool_]

    def level(self, of: str, share: float | None) -> float:
        """The mean of `cpu` or `wall`, or a quantile."""
        times = getattr(self, of)
        return float(times.mean() if share is None else np.quantile(times, share))


def answering(rows: int) -> asgi.App:
    """An app that answers constant bytes."""
    content = orjson.dumps({"predictions": [apps.SCORES] * rows})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


def bodies(load: Load, round_number: int) -> list[bytes]:
    """Requests that all differ."""
    rng = generator(round_number, "guard_marks", load.rows)
    asked = rng.standard_normal((load.requests, load.rows, apps.N_FEATURES)).round(4)
    return [orjson.dumps({"instances": each.tolist()}) for each in asked]


def measure(app: asgi.App, asked: Sequence[bytes], payloads: Path | None) -> Times:
    """Ask, and look at whether the ledger's payloads grew meanwhile."""
    cpus, walls, waited = np.empty(len(asked)), np.empty(len(asked)), np.zeros(len(asked), dtype=bool)
    everybody = time.process_time()
    size = payloads.stat().st_size if payloads else 0
    for i, body in enumerate(asked):
        cpu, wall = time.thread_time(), time.perf_counter()
        ask(app, body)
        walls[i], cpus[i] = time.perf_counter() - wall, time.thread_time() - cpu
        if payloads and size != (size := payloads.stat().st_size):
            waited[i] = True
    mine = time.thread_time()
    time.sleep(1.2)  # until the journal has written the last of them
    others = time.process_time() - everybody - float(cpus.sum()) - (time.thread_time() - mine)
    return Times(1e6 * cpus, 1e6 * walls, 1e6 * max(others, 0.0) / len(asked), waited)


def compare(load: Load) -> dict[str, object]:
    """The guard with the mark over the one without: medians over rounds that take turns."""
    app = answering(load.rows)
    with tempfile.TemporaryDirectory(dir=FOLDER) as text:
        folder = Path(text)
        guards = []
        for name, mark in (("plain", ""), ("marked", f'\n[[mark]]\nkind = "triggers"\nrate = {load.rate}\n')):
            config = folder / name / "counterclone.toml"
            config.parent.mkdir()
            config.write_text(PLAIN + load.policies + mark, encoding="utf-8")
            guards.append(Guard(app, config, registry=CollectorRegistry()))
        payloads = folder / "marked" / "ledger" / "0000" / "payloads"
        plain, marked = [], []
        for guard in guards:
            measure(guard, bodies(load._replace(requests=WARM_UP), -1), None)
        for number in range(ROUNDS):
            asked = bodies(load, number)
            plain.append(measure(guards[0], asked, None))
            marked.append(measure(guards[1], asked, payloads))
        for guard in guards:
            guard.close()
    return row(load, plain, marked)


def row(load: Load, plain: Sequence[Times], marked: Sequence[Times]) -> dict[str, object]:
    def added(of: str, share: float | None = None) -> list[float]:
        return [round(after.level(of, share) - before.level(of, share), 1)
                for before, after in zip(plain, marked, strict=True)]

    def middle(numbers: Sequence[float]) -> float:
        return round(statistics.median(numbers), 1)

    waited = np.concatenate([each.wall[each.waited] for each in marked])
    mean, late = added("wall"), added("wall", 0.99)
    return {
        "rows": load.rows, "rate": load.rate, "policies": "rounding" if load.policies else "",
        "cpu_plain_us": middle([each.level("cpu", None) for each in plain]), "cpu_added_us": middle(added("cpu")),
        "cpu_ratio": round(statistics.median(after.level("cpu", None) / before.level("cpu", None)
                                             for before, after in zip(plain, marked, strict=True)), 2),
        "cpu_99_added_us": middle(added("cpu", 0.99)), "cpu_99_added_us_least": min(added("cpu", 0.99)),
        "others_added_us": middle([after.others - before.others
                                   for before, after in zip(plain, marked, strict=True)]),
        "wall_plain_us": middle([each.level("wall", None) for each in plain]),
        "wall_added_us": middle(mean), "wall_added_us_least": min(mean), "wall_99_added_us": middle(late),
        "wall_99_added_us_least": min(late),
        "answers_waiting": round(len(waited) / sum(len(each.wall) for each in marked), 5),
        "waiting_us": middle(waited.tolist()), "at_most_us": AT_MOST_US,
        "reached": max(middle(mean), middle(late)) <= AT_MOST_US,
        "cpu_reached": max(middle(added("cpu")), middle(added("cpu", 0.99))) <= AT_MOST_US}


if __name__ == "__main__":
    results.show(results.Result("guard_marks", [compare(load) for load in LOADS]))

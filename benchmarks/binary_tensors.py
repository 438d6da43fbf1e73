"""A binary answer read, rounded and written: 32 x 1,000 FP32, CPU microseconds a row, and against numpy alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import orjson

from benchmarks import results
from counterclone.answers import Context, Rows
from counterclone.guard.dialects.oip import Oip
from counterclone.policies.rounding import Rounding
from counterclone.protocols import Body
from counterclone.queries import Query
from counterclone.randomness import Prf, generator

BATCH, N_CLASSES, DECIMALS = 32, 1000, 2
ROUNDS, CALLS = 15, 20
"""Each call of a round has an answer of its own, since a processor learns the branches of one that comes again."""
AT_MOST_US = 2.0
HEADER = b"inference-header-content-length"
SPREADS = {"flat": 1.0, "peaked": 8.0, "sure": 60.0}
"""Standard deviations of the logits: no class above a tenth; a few that share the row; one that has it."""


def run() -> results.Result:
    """Median over rounds, in which guard and numpy take turns."""
    rng = generator(0, "binary tensors")
    rows = []
    for name, spread in SPREADS.items():
        bodies = [answer(softmax(spread * rng.standard_normal((BATCH, N_CLASSES)))) for _ in range(CALLS)]
        guarded, copied, alone = microseconds(bodies, guard, copy, numpy_alone)
        rows.append({"rows": name, "us_a_row": round(guarded, 1), "at_most": AT_MOST_US,
                     "without_policy": round(copied, 1), "numpy_alone": round(alone, 1),
                     "ratio": round(guarded / alone, 1)})
    return results.Result("binary_tensors", rows)


def softmax(logits: Rows) -> Rows:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows: Rows = odds / odds.sum(axis=1, keepdims=True)
    return rows


def answer(rows: Rows) -> Body:
    """The rows as Triton sends them."""
    content = rows.astype("<f4").tobytes()
    scores = {"name": "scores", "datatype": "FP32", "shape": rows.shape,
              "parameters": {"binary_data_size": len(content)}}
    head = orjson.dumps({"model_name": "m", "model_version": "1", "outputs": [scores]})
    return Body(head + content, {b"content-type": b"application/octet-stream", HEADER: b"%d" % len(head)})


def guard(body: Body) -> Body:
    """What the guard does to an answer."""
    dialect, policy = Oip(), Rounding(decimals=DECIMALS)
    answer = dialect.read_answer(body, BATCH, "")
    context = Context(NOISE, QUERY)
    released = {name: policy.start(context).feed(output.rows) for name, output in answer.outputs.items()}
    return dialect.write_answer(answer, released)


def copy(body: Body) -> Body:
    """The answer read and written, and no policy."""
    dialect = Oip()
    answer = dialect.read_answer(body, BATCH, "")
    return dialect.write_answer(answer, {name: output.rows for name, output in answer.outputs.items()})


def numpy_alone(body: Body) -> bytes:
    """The least that could be done: each number rounded by itself, so that rows no longer sum to 1."""
    length = int(body.headers[HEADER])
    rows = np.frombuffer(body.content, "<f4", offset=length).reshape(BATCH, N_CLASSES)
    return body.content[:length] + rows.round(DECIMALS).tobytes()


def microseconds(bodies: list[Body], *calls: Callable[[Body], object]) -> list[float]:
    """A row's share of each call."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, taken in zip(calls, times, strict=True):
            started = time.process_time()
            for body in bodies:
                call(body)
            taken.append((time.process_time() - started) / len(bodies) / BATCH * 1e6)
    return [statistics.median(taken) for taken in times]


NOISE = Prf.from_secret("benchmark")
QUERY = Query(np.zeros((BATCH, 1)))

if __name__ == "__main__":
    results.show(run())

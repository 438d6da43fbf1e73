"""Each policy's CPU a row, K = 1,000 float64 probabilities, batches of 32."""

from __future__ import annotations

import statistics
import time
from typing import cast

import numpy as np

from benchmarks import results
from counterclone import plugins
from counterclone.answers import Context, Rows
from counterclone.protocols import Policy
from counterclone.queries import Query
from counterclone.randomness import Prf, generator

BATCH, N_CLASSES, N_FEATURES = 32, 1000, 64
ROUNDS, CALLS = 9, 20
AT_MOST_US = 50.0
CASES = (
    {"kind": "labels"},
    {"kind": "truncation", "top_k": 5},
    {"kind": "truncation", "top_k": 5, "rest": "drop"},
    {"kind": "rounding", "decimals": 2},
    {"kind": "rounding", "decimals": 6},
    {"kind": "rounding", "significant_bits": 8},
    {"kind": "noise", "scale": 0.5},
    {"kind": "noise", "scale": 0.5, "keep_order": 5},
    {"kind": "temperature", "temperature": 2.0},
    {"kind": "reverse_sigmoid"},
    {"kind": "deception"},
    {"kind": "deception", "l1_max": 2.0},
)


def run() -> results.Result:
    rng = generator(0, "policies")
    flat, peaked = (softmax(spread * rng.standard_normal((BATCH, N_CLASSES))) for spread in (1.0, 8.0))
    rows = []
    for case in CASES:
        policy = cast(Policy, plugins.build("policies", case, "benchmark"))
        worst = max(microseconds(policy, batch) for batch in (flat, peaked))
        options = ", ".join(f"{key} = {value}" for key, value in case.items() if key != "kind")
        rows.append({"policy": case["kind"], "options": options, "us_a_row": round(worst, 1),
                     "at_most": AT_MOST_US, "bits_a_row": round(policy.bits(N_CLASSES))})
    return results.Result("policies", rows)


def softmax(logits: Rows) -> Rows:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows: Rows = odds / odds.sum(axis=1, keepdims=True)
    return rows


def microseconds(policy: Policy, batch: Rows) -> float:
    """CPU, the median over rounds; each call is a new answer to new queries."""
    noise, rng = Prf.from_secret("benchmark"), generator(1, "queries")
    times = []
    for _ in range(ROUNDS):
        queries = [Query(rng.standard_normal((BATCH, N_FEATURES))) for _ in range(CALLS)]
        started = time.process_time()
        for query in queries:
            policy.start(Context(noise, query)).feed(batch)
        times.append((time.process_time() - started) / CALLS / BATCH * 1e6)
    return statistics.median(times)


if __name__ == "__main__":
    results.show(run())

"""The slow statistics, theory beside measurement: `make calibrate`. Exits with 1 where one misses its interval."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks import results
from counterclone.answers import Context, Rows, top_labels
from counterclone.policies.noise import Noise
from counterclone.queries import Query
from counterclone.randomness import Prf, generator

SEEDS = (0, 1, 2)
N_QUERIES, N_CLASSES, N_FEATURES = 20_000, 10, 8
CONFIDENCE = 0.999
OTHERS = ("watch_false_alarms", "watch_past", "marks_null")
"""Run after this one, each in a process of its own."""


def run() -> results.Result:
    rows = [row for seed in SEEDS for scale in (0.25, 1.0) for row in noise(seed, scale)]
    rows += [uniformity(seed) for seed in SEEDS]
    return results.Result("calibration", rows)


def noise(seed: int, scale: float) -> list[dict[str, object]]:
    """Errors of the released log-odds against the label, whose lead is too large for a repair."""
    rng = generator(seed, "calibration", str(scale))
    log_odds = rng.uniform(-12.0, -10.0, (N_QUERIES, N_CLASSES))
    log_odds[:, 0] = 0.0
    rows = np.exp(log_odds) / np.exp(log_odds).sum(axis=1, keepdims=True)
    released = released_rows(rows, rng.standard_normal((N_QUERIES, N_FEATURES)), seed, scale)
    seen = (released > 0.0).all(axis=1)  # deeper than 16 nats is released as zero
    errors = (np.log(released[seen]) - log_odds[seen])[:, 1:] - np.log(released[seen, :1])
    # Two classes' noise, which together have the variance of the scale, and the rounding to multiples of it.
    theory = scale * math.sqrt(1.0 + 1.0 / 12.0)
    repeats = np.mean([released_rows(rows[:50], np.ones((50, 1)), seed, scale) for _ in range(100)], axis=0)
    once = released_rows(rows[:50], np.ones((50, 1)), seed, scale)
    return [
        spread("log-odds error, standard deviation", seed, scale, theory, errors),
        {"what": "100 repeats averaged: largest change", "seed": seed, "scale": scale, "theory": 0.0,
         "measured": float(np.abs(repeats - once).max()), "low": 0.0, "high": 1e-12,
         "holds": bool(np.abs(repeats - once).max() <= 1e-12)},
        {"what": "labels changed", "seed": seed, "scale": scale, "theory": 0.0,
         "measured": float((top_labels(released) != top_labels(rows)).mean()), "low": 0.0, "high": 0.0,
         "holds": bool((top_labels(released) == top_labels(rows)).all())},
    ]


def spread(what: str, seed: int, scale: float, theory: float, errors: NDArray[np.float64]) -> dict[str, object]:
    """The standard deviation over queries, against theory within its own sampling interval.

    The classes of a row share the label's noise, so a row counts as one draw of its mean square.
    """
    squares = (errors**2).mean(axis=1)
    half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2) * squares.std() / math.sqrt(len(squares)))
    low, high = math.sqrt(squares.mean() - half), math.sqrt(squares.mean() + half)
    return {"what": what, "seed": seed, "scale": scale, "theory": round(theory, 4),
            "measured": round(math.sqrt(squares.mean()), 4), "low": round(low, 4), "high": round(high, 4),
            "holds": low <= theory <= high}


def uniformity(seed: int) -> dict[str, object]:
    """Words of a million draws over 256 bins: a chi-squared test."""
    prf = Prf.from_secret(f"calibration {seed}")
    words = np.concatenate([prf.words(b"%d" % i, 1000) for i in range(1000)])
    p_value = float(stats.chisquare(np.bincount(words >> 8, minlength=256)).pvalue)
    return {"what": "uniform words, p-value", "seed": seed, "scale": None, "theory": None,
            "measured": round(p_value, 4), "low": 1 - CONFIDENCE, "high": 1.0, "holds": p_value >= 1 - CONFIDENCE}


def released_rows(rows: Rows, features: NDArray[np.float64], seed: int, scale: float) -> Rows:
    context = Context(Prf.from_secret(f"calibration {seed}"), Query(features))
    return Noise(scale=scale).start(context).feed(rows)


if __name__ == "__main__":
    found = run()
    results.show(found)
    runs = [subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False) for name in OTHERS]
    sys.exit(any(done.returncode for done in runs) or not all(row["holds"] for row in found.rows))

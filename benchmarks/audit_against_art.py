"""Our `knockoff` against ART's KnockoffNets: the same victim, the same rows, the same budgets and seeds.

ART needs versions of its own, so it runs with the Python that the variable ART_PYTHON names:

    python3 -m venv .venv-art && .venv-art/bin/pip install adversarial-robustness-toolbox==1.20.1 torch packaging
    ART_PYTHON=.venv-art/bin/python python -m benchmarks.audit_against_art
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from benchmarks import results
from counterclone.answers import top_labels
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.plugins import load
from counterclone.protocols import Prior
from counterclone.queries import Features
from counterclone.randomness import generator
from counterclone.targets.local import Local

BUDGETS, SEEDS = (100, 300), range(5)
N_TRAINING, N_POOL = 900, 447
CONFIDENCE = 0.95


def run() -> results.Result:
    """Both on every budget and seed; the paired difference with its one-sided lower bound."""
    python = os.environ.get("ART_PYTHON")
    if not python:
        raise SystemExit(f"{__doc__}\nART_PYTHON isn't set")
    pixels, digits = load_digits(return_X_y=True)
    order = generator(0, "digits").permutation(len(pixels))
    pixels, digits = pixels[order] / 16.0, digits[order]
    victim = MLPClassifier((64, 64), max_iter=600, random_state=0).fit(pixels[:N_TRAINING], digits[:N_TRAINING])
    pool, evaluate = pixels[N_TRAINING:N_TRAINING + N_POOL], pixels[N_TRAINING + N_POOL:]
    return results.Result("audit_against_art", [
        row(python, victim, pool, evaluate, budget) for budget in BUDGETS])


def row(python: str, victim: Any, pool: Features, evaluate: Features, budget: int) -> dict[str, object]:
    ours, theirs = [], []
    for seed in SEEDS:
        rows = pool[generator(seed, "rows").permutation(len(pool))[:budget]]
        ours.append(asyncio.run(knockoff(victim, rows, evaluate, seed)))
        theirs.append(art(python, victim, rows, evaluate, seed))
    gains = np.array(ours) - np.array(theirs)
    half = float(stats.t.ppf(CONFIDENCE, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5)
    return {"queries": budget, "ours_mean": round(statistics.mean(ours), 4), "ours_min": round(min(ours), 4),
            "art_mean": round(statistics.mean(theirs), 4), "art_min": round(min(theirs), 4),
            "gain": round(float(gains.mean()), 4), "gain_at_least_95": round(float(gains.mean()) - half, 4),
            "asked": ">= 0.955, gain > 0" if budget == BUDGETS[0] else ""}


async def knockoff(victim: Any, rows: Features, evaluate: Features, seed: int) -> float:
    """The agreement of our student, with its defaults, after it was answered on exactly these rows."""
    n_classes = len(victim.classes_)
    prior = Prior(budget=len(rows), pool=rows, classes=n_classes, lower=rows.min(axis=0), upper=rows.max(axis=0))
    attack: Any = load("attacks", "knockoff")()
    student = await drive(attack.run(prior, generator(seed, "attack")), Local(victim.predict_proba),
                          Meter(len(rows)))
    assert student is not None
    return float((top_labels(student.answer(evaluate)) == victim.predict(evaluate)).mean())


def art(python: str, victim: Any, rows: Features, evaluate: Features, seed: int) -> float:
    """The agreement of ART's student, tuned, on the same rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "victim.npz")
        layers = {f"weight{i}": weight for i, weight in enumerate(victim.coefs_)}
        layers |= {f"bias{i}": bias for i, bias in enumerate(victim.intercepts_)}
        np.savez(path, rows=rows, evaluate=evaluate, seed=seed, **layers)
        done = subprocess.run([python, str(Path(__file__).with_name("art_student.py")), str(path)], check=True,
                              capture_output=True, text=True)
    fidelity: float = json.loads(done.stdout.splitlines()[-1])["fidelity"]
    return fidelity


if __name__ == "__main__":
    results.show(run())

"""The attacks that know the defence, beside `knockoff`, on the guard's own policies; digits, three seeds."""

from __future__ import annotations

import asyncio
import statistics
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from benchmarks import results
from counterclone import plugins
from counterclone.answers import top_labels
from counterclone.audit.surfaces import surface
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.protocols import Prior
from counterclone.randomness import Prf, generator
from counterclone.targets.local import Local

SEEDS = range(3)
N_TRAINING, N_POOL = 900, 447
INPUTS, LABELS = load_digits(return_X_y=True)
INPUTS = INPUTS / 16.0
VICTIMS = {
    "linear": LogisticRegression(max_iter=2000), "network": MLPClassifier((64, 64), max_iter=400, random_state=0)}


class Case(NamedTuple):
    """A wrapper, and what it is tried on."""

    attack: str
    victim: str
    shows: str
    budget: int
    pool: int = N_POOL


CASES = (
    Case("fallback", "network", "reverse-sigmoid", 100),
    Case("fallback", "network", "reverse-sigmoid", 300),
    Case("fallback", "network", "noise", 300),
    Case("averaging", "linear", "noise", 600, 150),
    Case("averaging", "network", "noise", 600, 150),
    Case("cell_difference", "linear", "noise", 300),
    Case("range_probing", "linear", "noise", 300),
    Case("range_probing", "network", "noise", 300),
    Case("denoising", "network", "reverse-sigmoid", 100),
    Case("denoising", "network", "reverse-sigmoid", 300),
    Case("denoising", "network", "noise", 300),
)


def run() -> results.Result:
    for victim in VICTIMS.values():
        victim.fit(INPUTS[:N_TRAINING], LABELS[:N_TRAINING])
    kinds = plugins.kinds("attacks")
    return results.Result("audit_adaptive", [row(case) for case in CASES if case.attack in kinds])


def row(case: Case) -> dict[str, object]:
    own = [fidelity(case, case.attack, seed) for seed in SEEDS]
    plain = [fidelity(case, "knockoff", seed) for seed in SEEDS]
    return {"attack": case.attack, "victim": case.victim, "shows": case.shows, "budget": case.budget,
            "pool": case.pool, "fidelity": round(statistics.mean(own), 3), "least": round(min(own), 3),
            "knockoff": round(statistics.mean(plain), 3), "knockoff_least": round(min(plain), 3)}


def fidelity(case: Case, attack: str, seed: int) -> float:
    model = VICTIMS[case.victim]
    lower, upper = INPUTS.min(axis=0), INPUTS.max(axis=0)
    shown = surface(case.shows)
    noise = Prf.from_secret(f"benchmark {seed}")
    target = shown.before(Local(model.predict_proba), noise, lower=lower, upper=upper)
    pool = generator(seed, "pool").permutation(INPUTS[N_TRAINING:N_TRAINING + case.pool])
    prior = Prior(budget=case.budget, pool=pool, classes=10, lower=lower, upper=upper, is_open=shown.is_open,
                  shows=shown.shows)
    spec: Any = plugins.build("attacks", {"kind": attack}, "benchmark")
    copy = asyncio.run(drive(spec.run(prior, generator(seed, "attack")), target, Meter(case.budget)))
    assert copy is not None
    unseen = INPUTS[N_TRAINING + N_POOL:]
    return float(np.mean(top_labels(copy.answer(unseen)) == model.predict(unseen)))


if __name__ == "__main__":
    results.show(run())

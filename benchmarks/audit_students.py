"""The attacks that learn, on scikit-learn's digits with nothing tuned: fidelity over seeds."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any, NamedTuple, cast

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from benchmarks import results
from counterclone import plugins
from counterclone.answers import top_labels
from counterclone.audit.surfaces import surface
from counterclone.budgets import Meter
from counterclone.demo import digits
from counterclone.driver import drive
from counterclone.protocols import Attack, Prior
from counterclone.randomness import Prf, generator
from counterclone.targets.local import Local

SEEDS = range(5)
DATA = digits.load(0)
VICTIMS: dict[str, Any] = {
    "MLP 64-64-64-10": MLPClassifier((64, 64), max_iter=400, random_state=0),
    "random forest": RandomForestClassifier(100, random_state=0),
    "tree, depth 10": DecisionTreeClassifier(max_depth=10, random_state=0),
    "softmax": LogisticRegression(max_iter=2000)}
NETWORK, FOREST, TREE, SOFTMAX = VICTIMS


class Case(NamedTuple):
    """An attack on a victim behind a surface.

    Attributes:
        attack: its table.
        victim: the name of the model.
        shows: the name of the surface.
        budget: queries.
        at_least: the mean fidelity that is asked for, None where none is.
        pool: inputs that the attacker has.
    """

    attack: dict[str, Any]
    victim: str
    shows: str
    budget: int
    at_least: float | None = None
    pool: int = digits.POOLED


KNOCKOFF = {"kind": "knockoff"}
CASES = (
    Case(KNOCKOFF, NETWORK, "full", 100, 0.955),
    *(Case(KNOCKOFF | {"selection": how}, NETWORK, shows, 100)
      for how in ("random", "active") for shows in ("full", "labels")),
    Case(KNOCKOFF, NETWORK, "full", 300), Case(KNOCKOFF, NETWORK, "full", 1000),
    Case(KNOCKOFF, FOREST, "full", 5000, 0.969), Case(KNOCKOFF, TREE, "full", 5000, 0.96),
    Case(KNOCKOFF, SOFTMAX, "labels", 5000, 0.987),
    *(Case(KNOCKOFF, NETWORK, shows, budget) for budget in (100, 1000)
      for shows in ("decimals-2", "top-3", "top-1", "noise", "reverse-sigmoid", "labels")),
    *(Case({"kind": "hard_label"}, NETWORK, "labels", budget) for budget in (50, 100, 300)),
    *(Case(KNOCKOFF, NETWORK, "labels", budget) for budget in (50, 300)),
    *(Case(attack, NETWORK, "full", 300, pool=50) for attack in (
        {"kind": "jacobian"}, {"kind": "jacobian", "targets": "own"}, KNOCKOFF)),
)


def run() -> results.Result:
    for victim in VICTIMS.values():
        victim.fit(*DATA.training)
    return results.Result("audit_students", [asyncio.run(row(case)) for case in CASES])


async def row(case: Case) -> dict[str, object]:
    pool, unseen = DATA.pool.pixels[:case.pool], DATA.honest
    lower, upper = DATA.pool.pixels.min(axis=0), DATA.pool.pixels.max(axis=0)
    shown = surface(case.shows)
    target = shown.before(Local(VICTIMS[case.victim].predict_proba), Prf.from_secret("benchmark"), lower=lower,
                          upper=upper)
    served = top_labels((await target.query(unseen.pixels)).rows)
    spec = cast(Attack, plugins.build("attacks", case.attack, "benchmark"))
    prior = Prior(budget=case.budget, pool=pool, classes=digits.N_CLASSES, lower=lower, upper=upper,
                  shows=shown.shows)
    fidelities, started = [], time.process_time()
    for seed in SEEDS:
        surrogate = await drive(spec.run(prior, generator(seed, "attack")), target, Meter(case.budget))
        assert surrogate is not None
        fidelities.append(float(np.mean(top_labels(surrogate.answer(unseen.pixels)) == served)))
    options = ", ".join(f"{key} = {value}" for key, value in case.attack.items() if key != "kind")
    return {"attack": case.attack["kind"], "options": options, "victim": case.victim, "shows": case.shows,
            "queries": case.budget, "pool": case.pool, "mean": round(statistics.fmean(fidelities), 4),
            "min": round(min(fidelities), 4), "max": round(max(fidelities), 4), "at_least": case.at_least,
            "served_accuracy": round(float(np.mean(served == unseen.digits)), 4),
            "cpu_seconds": round((time.process_time() - started) / len(SEEDS), 2)}


if __name__ == "__main__":
    results.show(run())

"""`path_finding` on decision trees: what leaf ids, probabilities, rounding, noise and labels alone cost a copier.

Five seeds draw the victim's part of the data, and the attack. Where ids tell leaves it stops by itself, else
where nothing surprises it any more, or at the budget.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.tree import DecisionTreeClassifier

from benchmarks import results
from counterclone.answers import top_labels
from counterclone.attacks.path_finding import PathFinding
from counterclone.audit.surfaces import surface
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.protocols import Prior
from counterclone.queries import Features
from counterclone.randomness import Prf, generator
from counterclone.targets.local import Local

SEEDS = range(5)
N_UNIFORM = 2000
LOADERS: dict[str, Callable[..., Any]] = {"digits": load_digits, "breast_cancer": load_breast_cancer,
                                          "wine": load_wine}
PARTS = {"digits": (900, 1347)}
"""Rows that the victim and the pool end at; a half and three quarters where none are named."""


class Case(NamedTuple):
    """A victim, what it shows, and what is known or demanded of its copy."""

    data: str
    shows: str
    budget: int
    at_least: float | None = None
    at_most: int | None = None
    depth: int | None = None
    rows_a_leaf: int = 1


CASES = (
    Case("digits", "ids", 10_253, 1.0, 10_253, depth=6),
    Case("digits", "full", 1_000, depth=6, rows_a_leaf=3),
    Case("digits", "full", 8_759, 0.998, 8_759, depth=6, rows_a_leaf=3),
    Case("digits", "full", 8_759, 0.998, 8_759, depth=6),
    Case("digits", "clipped", 8_759, depth=6),
    Case("digits", "decimals-2", 8_759, depth=6, rows_a_leaf=3),
    Case("digits", "noise", 6_000, depth=6, rows_a_leaf=3),
    Case("digits", "labels", 1_000, depth=6, rows_a_leaf=3),
    Case("digits", "labels", 2_000, depth=6, rows_a_leaf=3),
    Case("digits", "labels", 6_000, depth=6, rows_a_leaf=3),
    Case("breast_cancer", "ids", 2_000),
    Case("breast_cancer", "full", 2_000, rows_a_leaf=3),
    Case("breast_cancer", "labels", 2_000, rows_a_leaf=3),
    Case("wine", "ids", 500),
    Case("wine", "full", 500, rows_a_leaf=3),
)


class Found(NamedTuple):
    """What one run took and gave."""

    leaves: int
    queries: int
    fidelity: float
    uniform: float
    is_verified: bool


def run() -> results.Result:
    return results.Result("audit_trees", [row(case) for case in CASES])


def row(case: Case) -> dict[str, object]:
    found = [attacked(case, seed) for seed in SEEDS]
    fidelity = [one.fidelity for one in found]
    return {
        "data": case.data, "shows": case.shows, "rows_a_leaf": case.rows_a_leaf,
        "leaves": statistics.median(one.leaves for one in found), "budget": case.budget,
        "queries": statistics.median(one.queries for one in found), "most": max(one.queries for one in found),
        "fidelity": round(statistics.median(fidelity), 4), "least": round(min(fidelity), 4),
        "uniform": round(statistics.median(one.uniform for one in found), 4),
        "verified": sum(one.is_verified for one in found), "at_least": case.at_least, "at_most": case.at_most}


def attacked(case: Case, seed: int) -> Found:
    inputs, labels = LOADERS[case.data](return_X_y=True)
    inputs = inputs / 16.0 if case.data == "digits" else inputs
    order = generator(seed, "split").permutation(len(inputs))
    ends = PARTS.get(case.data, (len(inputs) // 2, 3 * len(inputs) // 4))
    training, pooled, honest = np.split(order, ends)
    model = DecisionTreeClassifier(max_depth=case.depth, min_samples_leaf=case.rows_a_leaf, random_state=seed)
    model.fit(inputs[training], labels[training])
    pool = inputs[pooled]
    lower, upper = pool.min(axis=0), pool.max(axis=0)
    shown = surface("full" if case.shows == "ids" else case.shows)
    target = shown.before(Local(model.predict_proba, ids=model.apply if case.shows == "ids" else None),
                          Prf.from_secret("benchmark"), lower=lower, upper=upper)
    prior = Prior(budget=case.budget, pool=pool, classes=model.n_classes_, lower=lower, upper=upper,
                  is_open=shown.is_open, shows=shown.shows)
    meter = Meter(case.budget)
    copy = asyncio.run(drive(PathFinding().run(prior, generator(seed, "attack")), target, meter))
    assert copy is not None

    def agreement(asked: Features) -> float:
        return float((top_labels(copy.answer(asked)) == top_labels(model.predict_proba(asked))).mean())

    even = generator(seed, "uniform").uniform(lower, upper, (N_UNIFORM, len(lower)))
    return Found(int(model.get_n_leaves()), meter.queries, agreement(inputs[honest]), agreement(even),
                 getattr(copy, "is_verified", False))


if __name__ == "__main__":
    results.show(run())

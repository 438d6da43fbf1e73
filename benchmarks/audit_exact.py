"""`equation_solving` and `boundary_solving` on linear models: what each surface costs who copies them exactly.

Five seeds draw the victim's part of the data, and the attack; medians and least values of them. Digits are divided
by 16, breast_cancer is standardised, one-vs-rest has a sigmoid for each class. The error is the largest of a
parameter, up to one vector for all classes; labels tell them up to a factor, so there it is the unit vector's.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from benchmarks import results
from counterclone import plugins
from counterclone.answers import Rows, top_labels
from counterclone.audit.surfaces import ONLY_LABELS, Surface, surface
from counterclone.budgets import Meter
from counterclone.demo import digits
from counterclone.driver import drive
from counterclone.protocols import Attack, Prior
from counterclone.queries import Features
from counterclone.randomness import Prf, generator
from counterclone.targets.local import Local

SEEDS = range(5)
N_UNIFORM = 2000
CLIPPED_LABELS = Surface(name="labels, clipped", policies=({"kind": "labels"},), is_open=False, shows=ONLY_LABELS)
EQUATIONS, BOUNDARIES = "equation_solving", "boundary_solving"


class Case(NamedTuple):
    """A victim, what it shows, and what is demanded of its copy."""

    victim: str
    attack: str
    shows: str | Surface
    budget: int
    at_least: float | None = None
    error_at_most: float | None = None

    @property
    def surface(self) -> Surface:
        return surface(self.shows) if isinstance(self.shows, str) else self.shows


CASES = (
    Case("softmax digits", EQUATIONS, "full", 65, 1.0, 1e-5),
    Case("softmax digits", EQUATIONS, "full", 1_000, 1.0, 1e-5),
    Case("softmax digits", EQUATIONS, "float32", 65, 1.0, 1e-5),
    Case("softmax digits", EQUATIONS, "decimals-6", 65),
    Case("softmax digits", EQUATIONS, "decimals-4", 65),
    Case("softmax digits", EQUATIONS, "decimals-3", 130, 0.998),
    Case("softmax digits", EQUATIONS, "decimals-3", 650, 1.0),
    Case("softmax digits", EQUATIONS, "decimals-2", 130),
    Case("softmax digits", EQUATIONS, "decimals-2", 650, 0.995),
    Case("softmax digits", EQUATIONS, "decimals-1", 650, 0.95),
    Case("softmax digits", EQUATIONS, "noise", 650),
    Case("softmax digits", EQUATIONS, "top-3", 650),
    Case("softmax digits", EQUATIONS, "top-1", 2_000),
    Case("softmax digits", EQUATIONS, "reverse-sigmoid", 650),
    Case("one-vs-rest digits", EQUATIONS, "full", 1_000),
    Case("logistic breast_cancer", EQUATIONS, "full", 31),
    Case("logistic breast_cancer", EQUATIONS, "decimals-2", 310),
    Case("softmax digits", BOUNDARIES, "labels", 650),
    Case("softmax digits", BOUNDARIES, "labels", 2_000),
    Case("softmax digits", BOUNDARIES, "labels", 5_000, 0.987),
    Case("softmax digits", BOUNDARIES, "labels", 16_056, 1.0),
    Case("softmax digits", BOUNDARIES, CLIPPED_LABELS, 5_000),
    Case("softmax digits", BOUNDARIES, CLIPPED_LABELS, 16_056),
    Case("logistic breast_cancer", BOUNDARIES, "labels", 310),
    Case("logistic breast_cancer", BOUNDARIES, "labels", 960, 1.0),
    Case("logistic breast_cancer", BOUNDARIES, CLIPPED_LABELS, 960),
)


class Victim(NamedTuple):
    """A model, an attacker's inputs, and unseen ones."""

    predict: Callable[[Any], Any]
    parameters: Rows
    pool: Features
    unseen: Features
    lower: Features
    upper: Features


class Found(NamedTuple):
    """What one run took and gave."""

    queries: int
    fidelity: float
    uniform: float
    error: float
    is_verified: bool


def on_digits(model: Any, seed: int) -> Victim:
    data = digits.load(seed)
    model.fit(data.training.pixels, data.training.digits)
    each = getattr(model, "estimators_", [model])
    parameters = np.vstack([np.column_stack([part.coef_, part.intercept_]) for part in each])
    return Victim(model.predict_proba, parameters, data.pool.pixels, data.honest.pixels, np.zeros(64), np.ones(64))


def on_breast_cancer(seed: int) -> Victim:
    values, classes = load_breast_cancer(return_X_y=True)
    order = generator(seed, "split").permutation(len(values))
    values, classes = values[order], classes[order]
    trained = len(values) // 2
    values = (values - values[:trained].mean(axis=0)) / values[:trained].std(axis=0)
    model = LogisticRegression(max_iter=10_000).fit(values[:trained], classes[:trained])
    half = np.column_stack([model.coef_, model.intercept_]) / 2.0
    pool, unseen = np.array_split(values[trained:], 2)
    return Victim(model.predict_proba, np.vstack([-half, half]), pool, unseen, values.min(axis=0),
                  values.max(axis=0))


def victim(name: str, seed: int) -> Victim:
    if name == "softmax digits":
        return on_digits(LogisticRegression(max_iter=2_000), seed)
    if name == "one-vs-rest digits":
        return on_digits(OneVsRestClassifier(LogisticRegression(max_iter=2_000)), seed)
    return on_breast_cancer(seed)


def run() -> results.Result:
    victims = {(case.victim, seed): victim(case.victim, seed) for case in CASES for seed in SEEDS}
    return results.Result("audit_exact", [row(case, [
        attacked(victims[case.victim, seed], case, seed) for seed in SEEDS]) for case in CASES])


def row(case: Case, found: list[Found]) -> dict[str, object]:
    return {
        "victim": case.victim, "attack": case.attack, "surface": case.surface.name, "budget": case.budget,
        "queries": statistics.median(run.queries for run in found),
        "fidelity": round(statistics.median(run.fidelity for run in found), 4),
        "at_least": case.at_least,
        "fidelity_least": round(min(run.fidelity for run in found), 4),
        "fidelity_uniform": round(statistics.median(run.uniform for run in found), 4),
        "error": float(f"{statistics.median(run.error for run in found):.1e}"),
        "error_at_most": case.error_at_most,
        "verified": sum(run.is_verified for run in found),
    }


def attacked(victim: Victim, case: Case, seed: int) -> Found:
    target = case.surface.before(Local(victim.predict), Prf.from_secret("benchmark"), lower=victim.lower,
                                 upper=victim.upper)
    classes = len(victim.parameters)
    prior = Prior(budget=case.budget, pool=victim.pool, classes=classes, lower=victim.lower, upper=victim.upper,
                  is_open=case.surface.is_open, shows=case.surface.shows)
    attack = cast(Attack, plugins.build("attacks", {"kind": case.attack}, "benchmark"))
    meter = Meter(case.budget)
    copy: Any = asyncio.run(drive(attack.run(prior, generator(seed, "attack")), target, meter))
    uniform = generator(seed, "uniform").uniform(victim.lower, victim.upper, (N_UNIFORM, len(victim.lower)))
    fidelity, evenly = (float((top_labels(np.asarray(victim.predict(inputs)))
                               == top_labels(copy.answer(inputs))).mean()) for inputs in (victim.unseen, uniform))
    return Found(meter.queries, fidelity, evenly, error(copy, victim.parameters), copy.is_verified)


def error(copy: Any, own: Rows) -> float:
    """The largest difference of a parameter."""
    if getattr(copy, "one_vs_rest", False):
        return float(np.abs(copy.parameters - own).max())  # sigmoids of their own: every parameter counts
    if hasattr(copy, "boundaries"):
        return float(np.abs(unit(copy.boundaries) - unit(own)).max())
    return float(np.abs(centred(copy.parameters) - centred(own)).max())


def unit(parameters: Rows) -> Rows:
    """Parameters without what labels don't tell."""
    apart = centred(parameters)
    found: Rows = apart / np.linalg.norm(apart)
    return found


def centred(parameters: Rows) -> Rows:
    found: Rows = parameters - parameters.mean(axis=0)
    return found


if __name__ == "__main__":
    results.show(run())

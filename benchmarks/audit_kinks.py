"""`kink_search` on networks with one hidden ReLU layer: what an exact copy takes, and where there is none.

Five seeds draw the victim's part of digits (pixels divided by 16), its weights, and the attack; medians, and the
worst of them. The error is the largest of a centred logit on unseen digits; a student has none. Budgets are what
is demanded, where something is.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.neural_network import MLPClassifier

from benchmarks import results
from counterclone.answers import Rows, top_labels
from counterclone.attacks._hinges import OneLayer
from counterclone.attacks.kink_search import KinkSearch
from counterclone.audit.surfaces import SCORES, Surface, surface
from counterclone.budgets import Meter
from counterclone.demo import digits
from counterclone.driver import drive
from counterclone.protocols import Prior
from counterclone.queries import Features
from counterclone.randomness import Prf, generator
from counterclone.targets.local import Local

SEEDS = range(5)
N_UNIFORM = 2000
LOGITS = surface("full")
PROBABILITIES = Surface(name="probabilities", shows=SCORES)
CLIPPED = Surface(name="probabilities, clipped", shows=SCORES, is_open=False)
SINGLE_LOGITS = Surface(name="float32 logits", float_bits=32)
SINGLE = Surface(name="float32 probabilities", float_bits=32, shows=SCORES)


class Case(NamedTuple):
    """A victim, what it shows, and what is demanded of its copy."""

    hidden: tuple[int, ...]
    surface: Surface
    budget: int
    fidelity_at_least: float | None = None
    error_at_most: float | None = None

    @property
    def is_single(self) -> bool:
        """Whether the victim computes in 32 bits too."""
        return self.surface.float_bits == 32


CASES = (
    Case((4,), LOGITS, 6_200),
    Case((16,), LOGITS, 6_200),
    Case((16,), PROBABILITIES, 6_200, 1.0, 1e-8),
    Case((16,), CLIPPED, 6_200),
    Case((64,), LOGITS, 33_000, 1.0, 1e-5),
    Case((64,), PROBABILITIES, 33_000),
    Case((64,), CLIPPED, 33_000),
    Case((128,), LOGITS, 60_000, 1.0, 1e-5),
    Case((16,), SINGLE, 6_200),
    Case((32,), SINGLE_LOGITS, 33_000, 0.999),
    Case((64,), SINGLE_LOGITS, 33_000),
    Case((16,), surface("decimals-4"), 6_200),
    Case((64, 64), LOGITS, 10_000),
)


class Victim(NamedTuple):
    """A model, an attacker's inputs, and unseen ones."""

    logits: Callable[[Any], Rows]
    pool: Features
    unseen: Features


class Found(NamedTuple):
    """What one run took and gave."""

    queries: int
    neurons: int
    fidelity: float
    uniform: float
    error: float | None
    is_verified: bool


def victim(hidden: tuple[int, ...], seed: int, *, is_single: bool) -> Victim:
    data = digits.load(seed)
    model = MLPClassifier(hidden, max_iter=3_000, random_state=seed)
    model.fit(data.training.pixels, data.training.digits)
    kind = np.float32 if is_single else np.float64
    layers = [(weights.astype(kind), biases.astype(kind))
              for weights, biases in zip(model.coefs_, model.intercepts_, strict=True)]

    def logits(inputs: Any) -> Rows:
        values = np.asarray(inputs).astype(kind)
        for place, (weights, biases) in enumerate(layers):
            values = (np.maximum(values, 0.0) if place else values) @ weights + biases
        return values.astype(np.float64)

    return Victim(logits, data.pool.pixels, data.honest.pixels)


def run() -> results.Result:
    return results.Result("audit_kinks", [row(case, [attacked(case, seed) for seed in SEEDS]) for case in CASES])


def row(case: Case, found: list[Found]) -> dict[str, object]:
    errors = [run.error for run in found if run.error is not None]
    return {
        "victim": "-".join(map(str, (64, *case.hidden, 10))), "surface": case.surface.name, "budget": case.budget,
        "queries": statistics.median(run.queries for run in found),
        "queries_most": max(run.queries for run in found),
        "neurons": statistics.median(run.neurons for run in found),
        "fidelity": round(statistics.median(run.fidelity for run in found), 4),
        "at_least": case.fidelity_at_least,
        "fidelity_least": round(min(run.fidelity for run in found), 4),
        "fidelity_uniform": round(statistics.median(run.uniform for run in found), 4),
        "error": float(f"{statistics.median(errors):.1e}") if errors else None,
        "error_most": float(f"{max(errors):.1e}") if errors else None,
        "error_at_most": case.error_at_most,
        "verified": sum(run.is_verified for run in found),
    }


def attacked(case: Case, seed: int) -> Found:
    model = victim(case.hidden, seed, is_single=case.is_single)
    lower, upper = np.zeros(64), np.ones(64)
    target = case.surface.before(Local(model.logits, returns="logits"), Prf.from_secret("benchmark"), lower=lower,
                                 upper=upper)
    prior = Prior(budget=case.budget, pool=model.pool, classes=10, lower=lower, upper=upper,
                  is_open=case.surface.is_open, shows=case.surface.shows)
    meter = Meter(case.budget)
    copy: Any = asyncio.run(drive(KinkSearch().run(prior, generator(seed, "attack")), target, meter))
    uniform = generator(seed, "uniform").uniform(lower, upper, (N_UNIFORM, 64))
    fidelity, evenly = (float((top_labels(model.logits(inputs)) == top_labels(copy.answer(inputs))).mean())
                        for inputs in (model.unseen, uniform))
    if not isinstance(copy, OneLayer):
        return Found(meter.queries, 0, fidelity, evenly, None, copy.is_verified)
    error = float(np.abs(copy.logits(model.unseen) - centred(model.logits(model.unseen))).max())
    return Found(meter.queries, len(copy.hinges), fidelity, evenly, error, copy.is_verified)


def centred(logits: Rows) -> Rows:
    found: Rows = logits - logits.mean(axis=1, keepdims=True)
    return found


if __name__ == "__main__":
    results.show(run())

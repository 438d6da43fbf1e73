"""The odometer against the truth: what it reads of an account's exchanges, and the copy that was really made.

True fidelity is that of the best copy made from the same exchanges, on data that nobody asked: the attack's own
surrogate, a network and trees of scikit-learn's, and the odometer's student under another seed. The odometer sees
the exchanges and what others asked.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from typing import cast

import numpy as np

from benchmarks import results
from benchmarks import second_population as second
from counterclone import plugins
from counterclone.answers import Reply, Rows, top_labels
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.populations import attacks, beds
from counterclone.populations.beds import Bed
from counterclone.protocols import Attack, Prior
from counterclone.queries import Features, Inputs
from counterclone.randomness import generator
from counterclone.watch import odometer
from counterclone.watch.odometer import Answered

BEDS = ("digits", "mnist", "letter")
POOLS = ("noise", "natural", "near", "strongaug", "random")
OWN = ("hard_label", "jacobian")
BUDGETS = (30, 150, 600)
SEEDS = 3
OTHERS, TRUTH = 500, 1000


class Asking:
    """A model that keeps what it was asked and what it answered."""

    def __init__(self, bed: Bed) -> None:
        self._bed = bed
        self.inputs: list[Features] = []
        self.rows: list[Rows] = []

    async def query(self, inputs: Inputs) -> Reply:
        self.inputs.append(np.array(inputs, dtype=np.float64))
        self.rows.append(self._bed.answer(self.inputs[-1]))
        return Reply(self.rows[-1])

    @property
    def asked(self) -> Answered:
        return Answered(np.concatenate(self.inputs), np.concatenate(self.rows))


def run() -> results.Result:
    warnings.simplefilter("ignore")  # a student that hasn't converged is a copy as well
    rows: list[dict[str, object]] = []
    for name in BEDS:
        bed = beds.load(name)
        others = _others(bed)
        for attack in (*POOLS, *OWN):
            for budget in BUDGETS:
                for seed in range(SEEDS):
                    asked, true = (_own if attack in OWN else _pool)(bed, attack, budget, seed)
                    reading = odometer.read(asked, others, seed)
                    rows.append({"bed": name, "attack": attack, "queries": reading.queries, "seed": seed,
                                 "odometer": round(reading.fidelity, 3), "true": round(true, 3)})
            print(rows[-1], file=sys.stderr)
    return results.Result("watch_odometer", _summary(rows))


def _summary(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Correlations of all readings and without each bed, with 95 % intervals by resampling (bed, attack) pairs."""
    found: list[dict[str, object]] = []
    for name in ("all", *BEDS):
        chosen = [row for row in rows if name in ("all", row["bed"])]
        read, true = (np.array([float(str(row[key])) for row in chosen]) for key in ("odometer", "true"))
        groups = sorted({(str(row["bed"]), str(row["attack"])) for row in chosen})
        places = {group: [i for i, row in enumerate(chosen) if (row["bed"], row["attack"]) == group]
                  for group in groups}
        rng = generator(0, "bootstrap", name)
        drawn = []
        for _ in range(1000):
            picked = np.concatenate([places[groups[i]] for i in rng.integers(0, len(groups), len(groups))])
            drawn.append(np.corrcoef(read[picked], true[picked])[0, 1])
        low, high = np.quantile(drawn, [0.025, 0.975])
        found.append({"bed": name, "attack": "r", "readings": len(chosen),
                      "odometer": round(float(np.corrcoef(read, true)[0, 1]), 3), "low": round(float(low), 3),
                      "high": round(float(high), 3), "mean_error": round(float(np.abs(read - true).mean()), 3)})
    return found


def _others(bed: Bed) -> Answered:
    honest = second.population(bed, 60, seed=1, raw=True)
    return Answered(*honest.raw(generator(0, "others").permutation(len(honest.exchanges))[:OTHERS]))


def _own(bed: Bed, kind: str, budget: int, seed: int) -> tuple[Answered, float]:
    pool = bed.parts["attack"].inputs
    order = generator(seed, "odometer pool").permutation(len(pool))
    prior = Prior(budget=budget, pool=pool[order], classes=bed.n_classes, lower=bed.lower, upper=bed.upper)
    target = Asking(bed)
    attack = cast(Attack, plugins.load("attacks", kind)())
    surrogate = asyncio.run(drive(attack.run(prior, generator(seed, kind)), target, Meter(budget)))
    assert surrogate is not None
    own = _agreement(bed, top_labels(surrogate.answer(_truth(bed))))
    return target.asked, max(own, _best(bed, target.asked, seed))


def _pool(bed: Bed, kind: str, budget: int, seed: int) -> tuple[Answered, float]:
    inputs = attacks.pool(bed, kind, budget, seed)
    asked = Answered(inputs, bed.answer(inputs))
    return asked, _best(bed, asked, seed)


def _best(bed: Bed, asked: Answered, seed: int) -> float:
    """The fidelity of the best of three students."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.neural_network import MLPClassifier

    truth = Answered(_truth(bed), bed.answer(_truth(bed)))
    found = [odometer.read(asked, truth, seed + 1000).fidelity]
    if len(np.unique(asked.labels)) > 1:
        scale = np.where(bed.upper > bed.lower, bed.upper - bed.lower, 1.0)
        inputs = np.asarray(asked.inputs) / scale
        models = (MLPClassifier((64,), max_iter=400, random_state=seed),
                  ExtraTreesClassifier(200, random_state=seed))
        found += [_agreement(bed, model.fit(inputs, asked.labels).predict(truth.inputs / scale))
                  for model in models]
    return max(found)


def _truth(bed: Bed) -> Features:
    """What nobody asked."""
    inputs: Features = bed.parts["tuning"].inputs[:TRUTH]
    return inputs


def _agreement(bed: Bed, labels: object) -> float:
    return float((top_labels(bed.answer(_truth(bed))) == np.asarray(labels)).mean())


if __name__ == "__main__":
    results.show(run())

"""How much of what probabilities teach a copier `deception` takes, victim by victim, beside other policies.

The copier is the best of a suite, and may always drop what is shown: of each setting, students of the rows as they
are, of the label and its confidence alone, of labels as such and smoothed, and those that know the defence. The
options' defaults were chosen on other parts of the data, with other seeds. A victim's name as an argument prints
its rows alone.
"""

from __future__ import annotations

import asyncio
import functools
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks import results
from counterclone import plugins
from counterclone.answers import Context, PerRow, Rows, top_labels
from counterclone.audit.utility import utility
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.policies.deception import Deception
from counterclone.policies.truncation import Truncation
from counterclone.populations import beds
from counterclone.populations.beds import Part
from counterclone.protocols import Policy, Prior
from counterclone.queries import Inputs, Query
from counterclone.randomness import Prf, generator
from counterclone.releases import released
from counterclone.targets.guarded import Guarded
from counterclone.targets.local import Local

SEEDS: Mapping[str, int] = {"digits": 5, "letter": 3, "mnist": 3, "magika": 3}
"""More where few inputs judge copies."""
BUDGETS: Mapping[str, Sequence[int]] = {
    "digits": (100, 300), "letter": (100, 300), "mnist": (100,), "magika": (100,)}
MOST = 1000
"""Inputs of a pool, and of those that copies are judged on."""
FEW = 150
"""Inputs of the pool of who asks around each of them."""
ASKED = 0.8
SMOOTH = 0.95
AS_IT_IS, LABELS, DECEPTION = "as it is", "labels", "deception"
SETTINGS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    AS_IT_IS: (),
    LABELS: ({"kind": "labels"},),
    DECEPTION: ({"kind": "deception"},),
    "rounding, decimals = 1": ({"kind": "rounding", "decimals": 1},),
    "truncation, top_k = 1": ({"kind": "truncation", "top_k": 1},),
    "noise, scale = 0.5": ({"kind": "noise", "scale": 0.5},),
    "reverse_sigmoid": ({"kind": "reverse_sigmoid"},),
}


class Victim(NamedTuple):
    """A model, what a copier has, and what its copies are judged on."""

    predict: Callable[[Any], Rows]
    pool: Inputs
    unseen: Inputs
    truth: NDArray[np.intp]


class Sorted:
    """What who knows `deception` makes of its rows: those in disguise lose the decoys, others stay."""

    may_flip: ClassVar[bool] = False
    adds_noise: ClassVar[bool] = False
    quantises: ClassVar[bool] = True

    def start(self, context: Context) -> PerRow:
        return PerRow(self.sort)

    def bits(self, n_classes: int) -> float:
        return Deception().bits(n_classes)

    def sort(self, rows: Rows) -> Rows:
        is_disguised = np.isclose(rows.max(axis=1)[:, None], Deception().confidences).any(axis=1)
        sorted_out: Rows = np.where(is_disguised[:, None], Truncation(top_k=1).truncate(rows), rows)
        return sorted_out


class Copier(NamedTuple):
    """An attack, and what it makes of the answers first."""

    attack: str
    reads: str = "rows"
    few: bool = False


READS: Mapping[str, tuple[Policy, ...]] = {
    "rows": (),
    "confidence": (Truncation(top_k=1),),
    "sorted": (Sorted(),),
    "smoothed labels": (Deception(l1_max=2.0, confidences=(SMOOTH,)), Truncation(top_k=1)),
}
NAIVE = Copier("knockoff")
FLOOR = (Copier("hard_label"), NAIVE, Copier("knockoff", "smoothed labels"))
ADAPTIVE = (NAIVE, Copier("knockoff", "confidence"), Copier("knockoff", "sorted"), Copier("denoising"),
            Copier("range_probing"), Copier("averaging", few=True))
COPIERS = {LABELS: FLOOR, DECEPTION: ADAPTIVE, "reverse_sigmoid": (NAIVE, Copier("denoising"))}


def run() -> results.Result:
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(rows_of, VICTIMS))
    return results.Result("deception", [row for rows in found for row in rows])


def rows_of(name: str) -> list[dict[str, object]]:
    warnings.filterwarnings("ignore", "The number of unique classes")  # of 26 classes with 30 answers
    victim = VICTIMS[name]()
    return [row for budget in BUDGETS[name] for row in rows_at(name, victim, budget)]


def rows_at(name: str, victim: Victim, budget: int) -> Iterator[dict[str, object]]:
    found = {setting: {copier: [fidelity(victim, setting, copier, budget, seed) for seed in range(SEEDS[name])]
                       for copier in copiers(setting, victim)} for setting in SETTINGS}
    floor = max(map(statistics.mean, found[LABELS].values()))
    soft = max(*map(statistics.mean, found[AS_IT_IS].values()), floor)
    for setting, trial in found.items():
        best = max(trial, key=lambda copier: statistics.mean(trial[copier]))
        own = statistics.mean(trial[best])
        reached = max(own, floor)  # labels can be had of every setting
        yield {"victim": name, "queries": budget, "seeds": SEEDS[name], "setting": setting,
               "best": round(reached, 3), "by": called(best) if own >= floor else "labels",
               "least": round(min(trial[best]), 3), "most": round(max(trial[best]), 3),
               "naive": round(statistics.mean(trial[NAIVE]), 3), "share_taken": share(soft, reached, floor),
               "asked": ASKED, **cost(victim, setting),
               "all": {called(copier): round(statistics.mean(each), 3) for copier, each in trial.items()}}


def share(soft: float, reached: float, floor: float) -> float | None:
    """Of the gap between soft students and those of labels; None where rows teach no more than labels."""
    return round((soft - reached) / (soft - floor), 2) if soft > floor else None


def called(copier: Copier) -> str:
    return copier.attack if copier.reads == "rows" else f"{copier.attack} of {copier.reads}"


def copiers(setting: str, victim: Victim) -> Sequence[Copier]:
    """Those that take texts are `knockoff` alone."""
    suite = COPIERS.get(setting, (NAIVE,))
    return [copier for copier in suite if copier.attack == "knockoff" or not isinstance(victim.pool, list)]


def fidelity(victim: Victim, setting: str, copier: Copier, budget: int, seed: int) -> float:
    shows = frozenset({"labels"} if (setting, copier.reads) == (LABELS, "rows") else {"labels", "scores"})
    target = Guarded(Local(victim.predict), [*built(setting), *READS[copier.reads]],
                     Prf.from_secret(f"deception {seed}"), shows=shows)
    order = generator(seed, "pool").permutation(len(victim.pool))[:FEW if copier.few else None]
    prior = prior_of(victim, order, budget)
    spec: Any = plugins.build("attacks", {"kind": copier.attack}, "benchmark")
    asking = spec.run(replace(prior, shows=shows), generator(seed, "attack"))
    copy = asyncio.run(drive(asking, target, Meter(budget)))
    assert copy is not None
    return float(np.mean(top_labels(copy.answer(victim.unseen)) == top_labels(victim.predict(victim.unseen))))


def prior_of(victim: Victim, order: NDArray[np.intp], budget: int) -> Prior:
    classes = victim.predict(victim.unseen[:1]).shape[1]
    if isinstance(victim.pool, list):
        return Prior(budget=budget, pool=[victim.pool[place] for place in order], classes=classes,
                     lower=np.empty(0), upper=np.empty(0))
    return Prior(budget=budget, pool=victim.pool[order], classes=classes, lower=victim.pool.min(axis=0),
                 upper=victim.pool.max(axis=0))


def built(setting: str) -> list[Policy]:
    return [cast(Policy, plugins.build("policies", table, "benchmark")) for table in SETTINGS[setting]]


def cost(victim: Victim, setting: str) -> dict[str, object]:
    """What honest users lose."""
    rows = victim.predict(victim.unseen)
    context = Context(Prf.from_secret("deception 0"), Query(victim.unseen))
    lost = utility(rows, released(built(setting), context, rows), victim.truth)
    return {"label_changed": lost.label_changed,
            "calibration_error": round(lost.calibration_error_increase or 0.0, 3),
            "top_3_loss": round(lost.top_3_loss or 0.0, 3), "l1": round(lost.l1, 3)}


# Victims

def bed(name: str, *, pool: Part = "attack", unseen: Part = "evaluation") -> Victim:
    made = beds.load(name)
    judged = made.parts[unseen]
    return Victim(made.answer, made.parts[pool].inputs[:MOST], judged.inputs[:MOST], judged.labels[:MOST])


def magika() -> Victim:
    """The model as it is packaged, and texts of this machine."""
    from benchmarks import audit_third_party

    whole = audit_third_party.magika()
    order = generator(11, "deception").permutation(len(whole.texts))[:2 * MOST]
    texts = [whole.texts[place] for place in order]
    assert whole.labels is not None
    remembered = audit_third_party.Remembered(whole.predict)
    return Victim(remembered, texts[:MOST], texts[MOST:], whole.labels[order[MOST:]])


VICTIMS: Mapping[str, Callable[[], Victim]] = {
    **{name: functools.partial(bed, name) for name in ("digits", "mnist", "letter")}, "magika": magika}


if __name__ == "__main__":
    if sys.argv[1:]:
        for line in rows_of(sys.argv[1]):
            print(line, flush=True)
    else:
        results.show(run())

"""How far a copier gets in thirty days: the copy at the first alarm, and the one that is left once alarms block.

A guard watches a crowd of honest accounts day by day, looks for campaigns each night, and blocks whom it alarms on
(a tier `block` at risk 1). The copier spreads its queries over 1, 10, 100 or 1,000 accounts. Honest traffic is of
the second generator, which nothing was tuned on; honest alarms are counted beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks import results
from benchmarks import second_population as second
from counterclone.answers import top_labels
from counterclone.journal.lines import Meta
from counterclone.populations import beds
from counterclone.populations.beds import Bed
from counterclone.populations.population import Population, join
from counterclone.randomness import Prf
from counterclone.watch import odometer
from counterclone.watch.engine import Engine, detectors, reference_of
from counterclone.watch.honest import Honest
from counterclone.watch.odometer import Answered
from counterclone.watch.sources import Traffic

BEDS = ("letter", "mnist")
ATTACKS = ("near", "strongaug", "random")
ACCOUNTS = (1, 10, 100, 1000)
QUERIES = 2000
"""Of the copier in all: more than its pool holds of the digits', where copies moved a little follow."""
N_REFERENCE, N_CROWD, DAYS = 6000, 2000, 30
RATE = 12.0
_KEY = Prf.from_secret("watch_copy")


def run() -> results.Result:
    rows = []
    for name in BEDS:
        bed = beds.load(name)
        known = second.population(bed, N_REFERENCE, DAYS, seed=1, part="calibration", median=20)
        crowd = second.population(bed, N_CROWD, DAYS, seed=2, median=20, raw=True)
        for attack in ATTACKS:
            for n_accounts in ACCOUNTS:
                each = max(QUERIES // n_accounts, 5)
                copier = second.campaign(bed, attack, n_accounts, each, days=DAYS, seed=3, raw=True)
                rows.append({"bed": name, "attack": attack, "accounts": n_accounts, "queries": n_accounts * each,
                             **simulated(bed, known, crowd, copier)})
                print(rows[-1], file=sys.stderr)
    return results.Result("watch_copy", rows)


def simulated(bed: Bed, known: Population, crowd: Population, copier: Population) -> dict[str, object]:
    """One month."""
    everybody = join(crowd, copier)
    engine = _engine(known)
    metas: list[Meta] = [dict(meta) for meta in everybody.meta]
    exchanges = everybody.exchanges
    days = ((exchanges.times - exchanges.times.min()) // 86_400.0).astype(np.intp)
    is_served = np.ones(len(exchanges), dtype=np.bool_)
    blocked = np.zeros(len(everybody), dtype=np.bool_)
    first: int | None = None
    for day in range(int(days.max()) + 1):
        today = np.flatnonzero(days == day)
        today = today[~blocked[exchanges.accounts[today]]]
        is_served[days == day] = False
        is_served[today] = True
        part = exchanges.select(today)
        engine.take(Traffic(list(everybody.names), part, [""] * len(everybody), metas))
        engine.search()
        named = set(engine.result(0, ()).alarmed)
        blocked = np.array([name in named for name in everybody.names])
        if first is None and (blocked & everybody.is_campaign).any():
            first = day + 1
    is_copier = everybody.is_campaign[exchanges.accounts]
    return {
        "first_alarm_day": first,
        "blocked_share": round(float(blocked[everybody.is_campaign].mean()), 3),
        "honest_alarms": int((blocked & ~everybody.is_campaign).sum()),
        "fidelity_at_alarm": _fidelity(bed, everybody, is_copier & (days < (first or DAYS))),
        "fidelity_30_days": _fidelity(bed, everybody, is_copier & is_served),
        "unguarded": _fidelity(bed, everybody, is_copier),
        "control": round(float(np.bincount(_truth(bed).labels).max() / len(_truth(bed).rows)), 3)}


def _engine(known: Population) -> Engine:
    names: Sequence[str] = known.names
    reference = Honest(list(names), [""] * len(known), known.exchanges,
                       dict(zip(names, known.meta, strict=True)))
    return Engine(reference_of(reference, detectors(), _KEY), reference, _KEY, false_alarms_per_year=RATE,
                  max_accounts=100_000, tell=lambda accounts, evidence, campaign: None)


def _fidelity(bed: Bed, everybody: Population, chosen: NDArray[np.bool_]) -> float | None:
    """Of the audit's copier with these exchanges; None for none."""
    if not chosen.any():
        return None
    asked = Answered(*everybody.raw(chosen))
    return round(odometer.read(asked, _truth(bed)).fidelity, 3)


def _truth(bed: Bed) -> Answered:
    inputs = bed.parts["tuning"].inputs[:1000]
    rows = np.eye(bed.n_classes)[top_labels(bed.answer(inputs))]
    return Answered(inputs, rows)


if __name__ == "__main__":
    results.show(run())

"""How good the copy is at the first alarm: under the default setting, and without any policy.

A watch follows a crowd of honest accounts day by day and looks for campaigns each night, for thirty days. A copier
spreads its queries over 1, 10 or 100 accounts; it has what it was answered until the night of the first alarm on
any of them, and a run without an alarm counts with all of it. The copy is the better of a student of the served
rows and one of their labels. Honest traffic is of the second generator, which nothing was tuned on; honest alarms
are counted beside it. What is watched are the target's own answers, so the alarm comes at the same time under both
settings.

All honest accounts of a reference ask variants of the same 360 digits or 1,000 MNIST images, the crowd of others:
to a search for campaigns such a crowd is one, so that on these only accounts are watched.
"""

from __future__ import annotations

import itertools
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks import results
from benchmarks import second_population as second
from counterclone.answers import Context, Rows, top_labels
from counterclone.audit.utility import utility
from counterclone.journal.lines import Meta
from counterclone.plugins import build
from counterclone.populations import beds
from counterclone.populations.beds import Bed
from counterclone.populations.population import Population, join
from counterclone.protocols import Policy
from counterclone.queries import Inputs, Query
from counterclone.randomness import Prf
from counterclone.releases import for_rows, released
from counterclone.watch import odometer
from counterclone.watch.engine import Engine, detectors, reference_of
from counterclone.watch.honest import Honest
from counterclone.watch.odometer import Answered
from counterclone.watch.reference import Reference
from counterclone.watch.sources import Traffic

Policies = Sequence[Mapping[str, Any]]

BEDS = ("digits", "mnist", "letter")
SEARCHED = ("letter",)
ATTACKS = ("random", "near", "strongaug", "jacobian")
ACCOUNTS = (1, 10, 100)
DEFAULT: Policies = ({"kind": "rounding", "decimals": 1},)
"""What `benchmarks.tune` chooses on digits within the default limits."""
QUERIES = 2000
"""Of the copier in all: more than its pool holds of the digits', which it then asks again."""
N_REFERENCE, N_CROWD, DAYS = 6000, 250, 30
"""With 250 accounts, twelve false alarms a year and 3,000 that calibrate, the level can be reached from day 6 on,
and on the first days, when few accounts have come."""
RATE = 12.0
_KEY = Prf.from_secret("watch_copy")
_TAUGHT: dict[tuple[str, bytes], list[float]] = {}


class Known(NamedTuple):
    """Honest accounts that others are compared with, and what the detectors learnt from them."""

    honest: Honest
    reference: Reference


def run() -> results.Result:
    return results.Result("watch_copy", [row for name in BEDS for row in months(name)])


def months(name: str) -> list[dict[str, object]]:
    """One bed's copiers, and the medians of their runs."""
    rows: list[dict[str, object]] = []
    bed = beds.load(name)
    known = _known(second.population(bed, N_REFERENCE, DAYS, seed=1, part="calibration", median=20))
    crowd = second.population(bed, N_CROWD, DAYS, seed=2, median=20, raw=True)
    for attack, n_accounts in itertools.product(ATTACKS, ACCOUNTS):
        copier = second.campaign(bed, attack, n_accounts, QUERIES // n_accounts, days=DAYS, seed=3, raw=True)
        rows.append({"bed": name, "attack": attack, "accounts": n_accounts,
                     **simulated(bed, known, crowd, copier)})
        print(rows[-1], file=sys.stderr)
    return [*rows, summary(bed, rows)]


def simulated(bed: Bed, known: Known, crowd: Population, copier: Population) -> dict[str, object]:
    """One month, or less where there is an alarm before."""
    everybody = join(crowd, copier)
    is_copier = everybody.is_campaign[everybody.exchanges.accounts]
    day, honest_alarms = _first_alarm(known, everybody, searches=bed.name in SEARCHED)
    held = is_copier if day is None else is_copier & (_days(everybody) <= day)
    return {"alarm_day": None if day is None else day + 1, "queries": int(held.sum()),
            "honest_alarms": honest_alarms, **fidelities(bed, *everybody.raw(held))}


def summary(bed: Bed, rows: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """The medians of a victim's runs, and what honest users lose by the default setting there."""
    told = bed.parts["tuning"]
    own = bed.answer(told.inputs)
    lost = utility(own, _served(told.inputs, own, DEFAULT), told.labels)
    print(f"{bed.name}: accuracy {-lost.accuracy_loss:+.4f}, calibration error "
          f"{lost.calibration_error_increase:+.4f}", file=sys.stderr)
    return {"bed": f"{bed.name}, median", "attack": "all", "accounts": None,
            "alarm_day": f"{sum(row['alarm_day'] is not None for row in rows)} of {len(rows)}",
            "queries": statistics.median(row["queries"] for row in rows),
            "honest_alarms": statistics.median(row["honest_alarms"] for row in rows),
            "undefended": statistics.median(row["undefended"] for row in rows),
            "default": statistics.median(row["default"] for row in rows)}


def fidelities(bed: Bed, inputs: Inputs, rows: Rows) -> dict[str, float]:
    """Of the better of two copies of these exchanges: by the rows as they are served, and by their labels.

    What is told apart by its accounts only is the same to a student, and taught once.
    """
    key = (bed.name, np.asarray(inputs).tobytes())
    if key not in _TAUGHT:
        truth = _truth(bed)
        labels, *settings = (odometer.read(Answered(inputs, taught), truth).fidelity
                             for taught in (np.eye(bed.n_classes)[top_labels(rows)], rows,
                                            _served(inputs, rows, DEFAULT)))
        _TAUGHT[key] = [round(max(labels, each), 3) for each in settings]
    return dict(zip(("undefended", "default"), _TAUGHT[key], strict=True))


def _served(inputs: Inputs, rows: Rows, policies: Policies) -> Rows:
    built = [cast(Policy, build("policies", table, "watch_copy")) for table in policies]
    return released(for_rows(built), Context(_KEY, Query(inputs)), rows) if built else rows


def _first_alarm(known: Known, everybody: Population, *, searches: bool) -> tuple[int | None, int]:
    """The day of the first alarm on a copier, from 0, and the honest accounts with an alarm by then."""
    engine = Engine(known.reference, known.honest, _KEY, false_alarms_per_year=RATE, max_accounts=100_000,
                    tell=lambda accounts, evidence, campaign: None)
    names = list(everybody.names)
    metas: list[Meta] = [dict(meta) for meta in everybody.meta]
    days = _days(everybody)
    alarmed = np.zeros(len(everybody), dtype=np.bool_)
    for day in range(int(days.max()) + 1):
        part = everybody.exchanges.select(np.flatnonzero(days == day))
        engine.take(Traffic(names, part, [""] * len(everybody), metas))
        if searches:
            engine.search()
        found = set(engine.result(0, ()).alarmed)
        alarmed |= np.array([name in found for name in names])
        if (alarmed & everybody.is_campaign).any():
            return day, int((alarmed & ~everybody.is_campaign).sum())
    return None, int(alarmed.sum())


def _days(everybody: Population) -> NDArray[np.intp]:
    times = everybody.exchanges.times
    days: NDArray[np.intp] = ((times - times.min()) // 86_400.0).astype(np.intp)
    return days


def _known(people: Population) -> Known:
    honest = Honest(list(people.names), [""] * len(people), people.exchanges,
                    dict(zip(people.names, people.meta, strict=True)))
    return Known(honest, reference_of(honest, detectors(), _KEY))


def _truth(bed: Bed) -> Answered:
    inputs = bed.parts["tuning"].inputs[:1000]
    return Answered(inputs, np.eye(bed.n_classes)[top_labels(bed.answer(inputs))])


if __name__ == "__main__":
    results.show(run())

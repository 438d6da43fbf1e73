"""Act `watch`: ten days of traffic to the digits model, in which one account and a group of fifty copy it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone import report
from counterclone.populations import beds, campaigns, honest, population
from counterclone.populations.beds import Bed
from counterclone.populations.population import Population
from counterclone.randomness import Prf
from counterclone.watch import odometer
from counterclone.watch.cases import Evidence
from counterclone.watch.engine import Engine, detectors, reference_of
from counterclone.watch.honest import Honest
from counterclone.watch.odometer import Answered
from counterclone.watch.sources import Traffic

FALSE_ALARMS_PER_YEAR = 52.0
N_KNOWN, N_HONEST, DAYS = 6000, 1500, 10
VOLUME = honest.Volume(median=12.0)
ATTACK = "natural"
LONE_QUERIES, GROUP, GROUP_QUERIES_EACH = 400, 50, 38


class Copier(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one copier.

    Attributes:
        accounts: that it acts through.
        queries: that it asked in ten days.
        alarm_day: when it was alarmed on, None for never.
        queries_before: that it had asked by then.
        named: of its accounts.
        fidelity: of a copy from what it had asked by then, None without an alarm.
        fidelity_in_the_end: of a copy from everything.
    """

    accounts: int
    queries: int
    alarm_day: int | None
    queries_before: int
    named: int
    fidelity: float | None
    fidelity_in_the_end: float


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """The act's findings.

    Attributes:
        known: honest accounts that the watch was calibrated with.
        accounts: honest accounts that were watched.
        queries: theirs.
        honest_alarms: of them, by themselves or as somebody's accomplices.
        lone: the copier with one account.
        group: the one with fifty.
        control: the share of the most frequent answer: what a copy without any query agrees on.
    """

    known: int
    accounts: int
    queries: int
    honest_alarms: int
    lone: Copier
    group: Copier
    control: float


def run(seed: int, say: Callable[[str], None]) -> Findings:
    """Make up the traffic, and watch it day by day; campaigns are looked for each night."""
    bed = beds.load("digits")
    say(f"watch: {N_KNOWN:,} honest accounts to compare with")
    known = honest.population(bed, N_KNOWN, DAYS, seed=seed, part="calibration", volume=VOLUME)
    crowd = honest.population(bed, N_HONEST, DAYS, seed=seed + 1, part="evaluation", volume=VOLUME, raw=True)
    lone = campaigns.campaign(bed, ATTACK, 1, LONE_QUERIES, days=DAYS, seed=seed, raw=True)
    group = campaigns.campaign(bed, ATTACK, GROUP, GROUP_QUERIES_EACH, days=DAYS, seed=seed + 1, raw=True)
    everybody = population.join(crowd, lone, group)
    days = _watched(known, everybody, say)
    places = np.split(np.arange(len(everybody)), np.cumsum([len(crowd), len(lone)]))
    others = _answered(everybody, np.isin(everybody.exchanges.accounts, places[0]))
    return Findings(
        known=len(known), accounts=len(crowd), queries=len(crowd.exchanges),
        honest_alarms=int((days[places[0]] > 0).sum()), lone=_copier(everybody, places[1], days, others),
        group=_copier(everybody, places[2], days, others), control=_control(bed, others))


def _watched(known: Population, everybody: Population, say: Callable[[str], None]) -> NDArray[np.intp]:
    """The day on which each account was alarmed on, 0 for never: (accounts,)."""
    alarmed: dict[str, int] = {}
    day = 0

    def tell(accounts: Sequence[str], evidence: Evidence, campaign: str) -> None:
        for account in accounts:
            alarmed.setdefault(account, day)

    key = Prf.from_secret("counterclone demo")
    reference = Honest(list(known.names), [""] * len(known), known.exchanges,
                       dict(zip(known.names, known.meta, strict=True)))
    engine = Engine(reference_of(reference, detectors(), key), reference, key, tell=tell,
                    false_alarms_per_year=FALSE_ALARMS_PER_YEAR, max_accounts=len(everybody))
    days = _days(everybody)
    for day in range(1, DAYS + 1):
        part = everybody.exchanges.select(np.flatnonzero(days == day))
        engine.take(Traffic(list(everybody.names), part, [""] * len(everybody),
                            [dict(meta) for meta in everybody.meta]))
        engine.search()
        say(f"watch: day {day}, {len(alarmed)} accounts alarmed on")
    return np.array([alarmed.get(name, 0) for name in everybody.names])


def _days(everybody: Population) -> NDArray[np.intp]:
    """The day of each exchange, from 1, (n,)."""
    times = everybody.exchanges.times
    days: NDArray[np.intp] = np.minimum(1 + ((times - times.min()) // population.DAY).astype(np.intp), DAYS)
    return days


def _copier(everybody: Population, members: NDArray[np.intp], days: NDArray[np.intp], others: Answered) -> Copier:
    is_own = np.isin(everybody.exchanges.accounts, members)
    alarms = days[members][days[members] > 0]
    first = int(alarms.min()) if len(alarms) else None
    is_before = is_own & (_days(everybody) <= (first or 0))
    return Copier(
        accounts=len(members), queries=int(is_own.sum()), alarm_day=first, queries_before=int(is_before.sum()),
        named=len(alarms), fidelity=None if first is None else _fidelity(everybody, is_before, others),
        fidelity_in_the_end=_fidelity(everybody, is_own, others))


def _fidelity(everybody: Population, chosen: NDArray[np.bool_], others: Answered) -> float:
    return odometer.read(_answered(everybody, chosen), others).fidelity


def _answered(everybody: Population, chosen: NDArray[np.bool_]) -> Answered:
    """Some exchanges with their answers, two thousand at most."""
    rows = np.flatnonzero(chosen)
    return Answered(*everybody.raw(rows[:: max(len(rows) // 2000, 1)]))


def _control(bed: Bed, others: Answered) -> float:
    return float(np.bincount(others.labels, minlength=bed.n_classes).max() / len(others.labels))


def table(findings: Findings) -> report.Table:
    """The findings for people."""
    def row(name: str, copier: Copier) -> tuple[str, ...]:
        alarm = "no alarm" if copier.alarm_day is None else (
            f"day {copier.alarm_day}, {copier.queries_before:,} of {copier.queries:,} queries")
        held = "" if copier.fidelity is None else f"{copier.fidelity:.1%}"
        return (name, alarm, f"{copier.named} of {copier.accounts}", held, f"{copier.fidelity_in_the_end:.1%}")

    return report.Table(
        caption=f"Watch: {findings.accounts:,} honest accounts and two copiers in {DAYS} days",
        heads=("", "alarm", "accounts named", "copy held by then", "copy without a watch"),
        rows=(row("one account", findings.lone), row(f"{GROUP} accounts", findings.group)),
        notes=(f"Honest accounts alarmed on: {findings.honest_alarms} of {findings.accounts:,}, at "
               f"{FALSE_ALARMS_PER_YEAR:g} false alarms a year for all; {findings.known:,} other honest accounts "
               "set the bar.",
               "Both copiers ask patches of photographs. A copier that asks what honest people ask, slowly, isn't "
               "found: a share of a copy a day is what limits it.",
               f"A copy without a single query agrees on {findings.control:.1%}."))

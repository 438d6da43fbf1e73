"""Fidelity against queries and dollars, and what a copy of a stated fidelity costs."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from counterclone.audit.trial import Trial
from counterclone.budgets import Limit, pace

LEVELS = (0.5, 0.9, 0.95, 0.99)


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The trials of one attack on one surface with one budget.

    Attributes:
        attack: its kind.
        surface: what the target showed.
        budget: queries.
        queries: that were asked, the mean of the seeds.
        usd: that they cost, likewise.
        fidelity: likewise.
        low: the least of the seeds.
        high: the largest.
        balanced: the mean agreement over the target's labels, likewise.
        n_seeds: how many there are.
    """

    attack: str
    surface: str
    budget: int
    queries: float
    usd: float
    fidelity: float
    low: float
    high: float
    balanced: float
    n_seeds: int


class Reach(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The cheapest way to a copy of a stated fidelity.

    Attributes:
        fidelity: of the copy, on the deployment's inputs.
        surface: what the target shows.
        attack: the cheapest one's kind.
        queries: that it takes, between two budgets by interpolation in the logarithm of the queries.
        usd: that they cost.
        is_balanced: whether balanced agreement is meant, where the most frequent label alone agrees on as much.
        is_bound: whether the least budget that was tried got there already, so that fewer queries may do.
        days: that one account needs at the configured limits, None where there are none.
        accounts: that gather it in a day, likewise.
    """

    fidelity: float
    surface: str
    attack: str
    queries: int
    usd: float
    is_balanced: bool = False
    is_bound: bool = False
    days: float | None = None
    accounts: int | None = None


def points(trials: Iterable[Trial]) -> list[Point]:
    """One point for each attack, surface and budget, in that order, budgets rising."""
    groups: defaultdict[tuple[str, str, int], list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[trial.surface, trial.attack, trial.queries].append(trial)
    return [Point(
        attack=attack, surface=surface, budget=budget, n_seeds=len(group),
        queries=statistics.fmean(trial.queries_sent for trial in group),
        usd=statistics.fmean(trial.usd for trial in group),
        fidelity=statistics.fmean(trial.fidelity for trial in group),
        low=min(trial.fidelity for trial in group), high=max(trial.fidelity for trial in group),
        balanced=statistics.fmean(trial.fidelity_balanced for trial in group))
        for (surface, attack, budget), group in sorted(groups.items())]


def cheapest(found: Sequence[Point], surfaces: Sequence[str], limits: Sequence[Limit],
             bits_of: Callable[[str], float], *, majority: float) -> list[Reach]:
    """The cheapest attack to each level on each surface; levels that nothing reached are left out.

    A level that the most frequent label alone reaches would be no copy; there, balanced agreement counts.

    Args:
        found: of all attacks.
        surfaces: their names, in the order of the result.
        limits: of an account.
        bits_of: an upper bound on the bits of an answer, by surface.
        majority: the share of the target's most frequent label.
    """
    reaches = []
    for surface in surfaces:
        series: defaultdict[str, list[Point]] = defaultdict(list)
        for point in found:
            if point.surface == surface:
                series[point.attack].append(point)
        for level in LEVELS:
            is_balanced = majority >= level
            ways = [way for line in series.values() if (way := _reach(line, level, is_balanced=is_balanced))]
            if ways:
                best = min(ways, key=lambda way: (way[0].usd, way[0].queries, -way[1], way[0].attack))
                reaches.append(_limited(best[0], limits, bits_of(surface)))
    return reaches


def _reach(line: Sequence[Point], level: float, *, is_balanced: bool) -> tuple[Reach, float] | None:
    """Where one attack first gets to a level, never beyond what was measured, and how far it got there."""
    agreed = [point.balanced if is_balanced else point.fidelity for point in line]
    for number, point in enumerate(line):
        if agreed[number] < level:
            continue
        queries, usd = point.queries, point.usd
        if number:
            before = line[number - 1]
            share = (level - agreed[number - 1]) / (agreed[number] - agreed[number - 1])
            queries = math.exp(math.log(before.queries) + share * math.log(point.queries / before.queries))
            if point.queries > before.queries:
                usd = before.usd + (queries - before.queries) / (point.queries - before.queries) * (
                    point.usd - before.usd)
        return Reach(fidelity=level, surface=point.surface, attack=point.attack, queries=math.ceil(queries - 1e-9),
                     usd=usd, is_balanced=is_balanced, is_bound=not number), agreed[number]
    return None


def _limited(reach: Reach, limits: Sequence[Limit], bits: float) -> Reach:
    if not limits:
        return reach
    days, accounts = pace(reach.queries, [in_queries(limit, bits) for limit in limits])
    return msgspec.structs.replace(reach, days=days, accounts=accounts)


def in_queries(limit: Limit, bits: float) -> Limit:
    """A limit as one on queries, whose answers have so many bits at most."""
    return limit._replace(unit="queries", amount=limit.amount / bits) if limit.unit == "bits" else limit

"""What a copy takes: dollars, accounts and days, and how far these go."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from counterclone.audit.curve import Point
from counterclone.budgets import DAY, Limit

ACCOUNTS = (1, 10, 100)
DAYS = (1.0, 7.0, 30.0)
MOST_BUDGETS = 4

Bound = Literal["", "at most", "at least"]


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """What a copier brings, and how far it gets within the limits.

    Attributes:
        usd: that it spends, None where callers pay nothing.
        accounts: that it has.
        days: that it waits.
        queries: that these come to; None for as many as it likes.
        fidelity: of the nearest copy with so many.
        bound: whether the fidelity is at most or at least that, since fewer or more queries weren't tried.
    """

    usd: float | None
    accounts: int
    days: float
    queries: int | None
    fidelity: float
    bound: Bound


class Reached(NamedTuple):
    """The fidelity of the nearest copy, whether that is a bound, and the attack that made it."""

    fidelity: float
    bound: Bound
    attack: str


def reached(found: Sequence[Point], queries: float) -> Reached:
    """How near a copy comes with so many queries, by the best attack; between two budgets by the logarithm.

    A copier may stop before, so that more queries never make a worse copy. Nothing is told beyond what was tried.

    Args:
        found: the points of one setting, at least one.
        queries: that it may ask.
    """
    lines: defaultdict[str, list[Point]] = defaultdict(list)
    for point in sorted(found, key=lambda point: point.queries):
        lines[point.attack].append(point)
    ways = {attack: fidelity for attack, line in lines.items() if (fidelity := _along(line, queries)) is not None}
    if not ways:
        attack = max(lines, key=lambda attack: lines[attack][0].fidelity)
        return Reached(lines[attack][0].fidelity, "at most", attack)
    attack = max(ways, key=ways.__getitem__)
    is_beyond = queries > max(point.budget for point in found)
    return Reached(ways[attack], "at least" if is_beyond else "", attack)


def _along(line: Sequence[Point], queries: float) -> float | None:
    """The fidelity of one attack, None under the least that it was tried with."""
    known = [point for point in line if point.queries <= queries]
    if not known:
        return None
    best = max(point.fidelity for point in known)
    if len(known) < len(line):
        before, after = known[-1], line[len(known)]
        share = math.log(queries / before.queries) / math.log(after.queries / before.queries)
        best = max(best, before.fidelity + share * (after.fidelity - before.fidelity))
    return best


def efforts(found: Sequence[Point], limits: Sequence[Limit]) -> list[Effort]:
    """How far a copier gets with some money, accounts and patience, all combinations.

    Args:
        found: the points of one setting, at least one.
        limits: of an account, on queries.
    """
    per_query = max(point.usd / point.queries for point in found)
    tried = []
    for usd, accounts, days in itertools.product(_budgets(found) if per_query else (None,), ACCOUNTS, DAYS):
        admitted = accounts * min((limit.admits(days * DAY) for limit in limits), default=math.inf)
        queries = admitted if usd is None else min(admitted, usd / per_query)
        fidelity, bound, _ = reached(found, max(queries, 1.0))
        tried.append(Effort(usd=usd, accounts=accounts, days=days, fidelity=fidelity, bound=bound,
                            queries=None if math.isinf(queries) else int(queries)))
    return tried


def _budgets(found: Sequence[Point]) -> list[float]:
    """Powers of ten, in dollars, about what was spent in the trials."""
    spent = [point.usd for point in found if point.usd]
    first, last = math.floor(math.log10(min(spent))), math.ceil(math.log10(max(spent)))
    return [10.0**power for power in range(first, last + 1)][-MOST_BUDGETS:]

"""Who is suspected most, of however many accounts: sorted as arrays, and told a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.watch.monitor import Monitor

SUSPECTED_RISK = 0.5
"""From here on an account's reasons are told."""


class Ranked(NamedTuple):
    """Some accounts in the order of their risks.

    Attributes:
        accounts: each with its risk.
        n_found: how many there are with those that weren't asked for.
    """

    accounts: list[tuple[str, float]]
    n_found: int


def ranked(monitor: Monitor, campaigns: Mapping[str, float], *, containing: str = "", least: float = 0.0,
           first: int = 0, count: int) -> Ranked:
    """Accounts by risk, of those as risky the least like honest ones, then the busiest.

    Any thread may ask while another feeds.

    Args:
        monitor: what remembers them.
        campaigns: the risk of each campaign's members.
        containing: what their names contain, in letters of either case.
        least: the risk from which on they count.
        first: where to begin, 0 for the riskiest; beyond the last page, the last.
        count: how many at most, a page.
    """
    places, wanted, columns = monitor.table.places, containing.casefold(), monitor.table.columns
    if wanted:
        places = {name: row for name, row in places.items() if wanted in name.casefold()}
    names, rows = list(places), np.fromiter(places.values(), np.intp, len(places))
    p_values = columns.course[rows, -1]
    risks = _risks(p_values, monitor.level)
    if campaigns:
        risks = np.maximum(risks, [campaigns.get(name, 0.0) for name in names])
    n_found = int((risks >= least).sum())
    first = min(first, max(n_found - 1, 0) // count * count)
    order = np.lexsort((-columns.counts[rows], p_values, -risks))[first:min(first + count, n_found)]
    return Ranked([(names[i], float(risks[i])) for i in order.tolist()], n_found)


def _risks(p_values: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """`levels.risk_of` of each: (n,)."""
    if level <= 0.0:
        return np.zeros(len(p_values))
    risks: NDArray[np.float64] = np.minimum(np.log(np.minimum(p_values, 1.0)) / np.log(level), 1.0)
    return risks

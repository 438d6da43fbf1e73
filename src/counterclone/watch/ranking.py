"""Who is suspected most, of however many accounts: sorted as arrays, and told a page at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from counterclone.watch.monitor import Monitor

SUSPECTED_RISK = 0.5
"""From here on an account's reasons are told."""


def ranked(monitor: Monitor, campaigns: Mapping[str, float], *, containing: str = "",
           least: float = 0.0) -> list[tuple[str, float]]:
    """Accounts and their risks, the riskiest first, of those the least like honest ones, then the busiest.

    Any thread may ask while another feeds.

    Args:
        monitor: what remembers them.
        campaigns: the risk of each campaign's members.
        containing: what their names contain, in letters of either case.
        least: the risk from which on they count.
    """
    wanted, table = containing.casefold(), monitor.table
    places = [place for place in table.places if not wanted or wanted in place[0].casefold()]
    rows = np.array([row for _, row in places], dtype=np.intp)
    columns = table.columns
    p_values = columns.course[rows, -1]
    risks = _risks(p_values, monitor.level)
    if campaigns:
        of_campaigns = np.array([campaigns.get(name, 0.0) for name, _ in places])
        risks = np.maximum(risks, of_campaigns)
    order = np.lexsort((-columns.counts[rows], p_values, -risks))
    return [(places[i][0], float(risks[i])) for i in order[:int((risks >= least).sum())].tolist()]


def _risks(p_values: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """`levels.risk_of` of each: (n,)."""
    if level <= 0.0:
        return np.zeros(len(p_values))
    risks: NDArray[np.float64] = np.minimum(np.log(np.minimum(p_values, 1.0)) / np.log(level), 1.0)
    return risks

"""`triggers` on classifiers: what it costs, which copies it proves, and which false claims it lets through.

The last table holds the numbers that were asked for against what was measured.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks import marks_false_claims, marks_forgetting, marks_removal, results

AT_LEAST = 24
"""Triggers that memorising students are judged with."""


def targets(costs: list[dict[str, Any]], students: list[dict[str, Any]], nulls: list[dict[str, Any]],
            claims: list[dict[str, Any]]) -> results.Result:
    """What was asked for, and what the worst seed of the worst bed gave."""
    rates = sorted({each["rate"] for each in costs})
    rows = [_row(f"answers changed at rate {rate}",
                 max(max(each["changed"]) for each in costs if each["rate"] == rate), 0.005) for rate in rates]
    rows.append(_row("accuracy lost beyond answers changed", max(
        lost - changed for each in costs
        for lost, changed in zip(each["accuracy_lost"], each["changed"], strict=True)), 0.0))
    judged = [each for each in students if each["at_most"] is not None]
    for student in dict.fromkeys(each["student"] for each in judged):
        found = [(p, each["at_most"]) for each in judged if each["student"] == student
                 for p, n in zip(each["p_values"], each["triggers"], strict=True)
                 if n >= AT_LEAST or each["at_most"] != marks_removal.MEMORISING]
        rows.append(_row(f"{student}: p", max(p for p, _ in found), found[0][1]))
    stops = [each["queries_to_e_1e6"] for each in judged if each["at_most"] == marks_removal.MEMORISING]
    rows.append(_row("memorising students: queries to e >= 1e6, median",
                     statistics.median(each if each is not None else float("inf") for each in stops), 12))
    rows.append(_row("independent models and wrong keys: sets of p-values smaller than uniform",
                     sum(not each["holds"] for each in nulls), 0))
    rows.append(_row("accusers who choose later: accepted", max(
        each["accepted"] for each in claims if each["tries"] == marks_false_claims.N_TRIES), 0))
    return results.Result("marks", rows)


def _row(what: str, measured: float, at_most: float) -> dict[str, object]:
    return {"what": what, "measured": measured, "at_most": at_most, "reached": measured <= at_most}


if __name__ == "__main__":
    removal, false_claims = marks_removal.run(), marks_false_claims.run()
    found = (*removal, marks_forgetting.run(), *false_claims)
    for each in (*found, targets(*(result.rows for result in (*removal, *false_claims[:2])))):
        results.show(each)

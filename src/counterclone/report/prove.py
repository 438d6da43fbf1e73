"""A verdict for people."""

from __future__ import annotations

from typing import TextIO

from counterclone.prove.verification import Verdict
from counterclone.report.page import Table, print_table


def show(verdict: Verdict, file: TextIO) -> None:
    """Print a verdict."""
    print_table(table(verdict), file)


def table(verdict: Verdict) -> Table:
    """A verdict as a table."""
    rows = [
        ("verdict", verdict.verdict.replace("-", " ")),
        ("p-value, corrected for all tests",
         f"{verdict.p_value:.2g} (level {verdict.alpha:g}, {verdict.tested} tests)"),
        ("rank among decoy keys",
         "no answer told anything" if verdict.p_decoy is None else f"{verdict.p_decoy:.3g}"),
        ("e-value", f"{verdict.e_value:.3g}"),
        ("queries", f"{verdict.queries:,}"),
        ("power, half of the marks taken up", f"{verdict.power:.1%}"),
        *((f"mark {mark.kind}",
           f"{mark.hits} of {mark.trials} choices meet the key, p = {mark.p_value:.2g}")
          for mark in verdict.marks),
        *((f"fingerprint {each.kind}", f"answers {each.likeness:.1%} alike (independent models up to "
           f"{each.likest:.1%}); ranks among {each.nulls}: p = {each.p_likeness:.2g}, by surplus "
           f"{each.p_value:.2g}; they decide nothing")
          for each in verdict.fingerprints),
        *((f"account {each.account}", f"p = {each.p_adjusted:.2g}") for each in verdict.accounts)]
    if verdict.basis:
        rows.append(("asked on the ground of", verdict.basis))
    under = ", ".join(map(str, verdict.pool or (verdict.commitment,)))
    return Table(caption=f"Suspect {verdict.suspect} under commitment {under}", heads=("", ""),
                 rows=tuple(rows), notes=(verdict.finding,), is_prose=True)

"""An audit for people: tables in the terminal, and one page with the curves."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from counterclone.audit.curve import LEVELS, Point
from counterclone.audit.findings import dollars, duration
from counterclone.audit.result import Audit
from counterclone.report.curves import curves
from counterclone.report.page import Figure, Table, print_table, write_html

LIMITS = (
    "It shows what these attacks reached with these inputs and budgets. A better attack may exist, and what "
    "wasn't reached isn't safe.",
    "Fidelity depends on the attacker's inputs, on the size of the target and on how evenly its labels fall; "
    "compare audits with the same of each.")


def show(audit: Audit, file: TextIO) -> None:
    """Print the tables."""
    for table in tables(audit, [audit.surfaces[0].name]):
        print_table(table, file)


def write(path: Path, audit: Audit) -> None:
    """Write the page.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    write_html(path, f"What a copy of {audit.target} costs", _lead(audit), parts(audit))


def parts(audit: Audit) -> list[Table | Figure]:
    """The tables and the curves, in the order of a page.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    names = [surface.name for surface in audit.surfaces]
    first, *rest, last = tables(audit, names)
    figures = [_figure(audit, name) for name in names if _of(audit, name)]
    return [first, last, *figures, *rest]


def tables(audit: Audit, names: Sequence[str]) -> list[Table]:
    """The audit's tables.

    Args:
        audit: what was found.
        names: of the surfaces whose attacks are told one by one.
    """
    found = [_copies(audit), *(_attacks(audit, name) for name in names if _of(audit, name))]
    if len(audit.surfaces) > 1 or audit.surfaces[0].label_unchanged < 1.0:
        found.append(_surfaces(audit))
    return [*found, _findings(audit)]


def _copies(audit: Audit) -> Table:
    rows = [(surface.name, *(_cell(audit, level, surface.name) for level in LEVELS)) for surface in audit.surfaces]
    notes = []
    shown = audit.surfaces[0].name
    copy = audit.reach(0.9, shown)
    if copy is not None and audit.training_cost_usd:
        notes.append(f"Training the model cost {dollars(audit.training_cost_usd)}; a 90 % copy through '{shown}' "
                     f"costs {dollars(copy.usd)}.")
    if copy is not None and copy.days is not None:
        accounts = "1 account gathers" if copy.accounts == 1 else f"{copy.accounts:,} accounts gather"
        notes.append(f"At the configured limits one account gathers it {duration(copy.days)}, and {accounts} it "
                     "in a day.")
    if any(reach.is_balanced for reach in audit.cheapest):
        notes.append(f"The most frequent label alone agrees on {audit.majority:.1%}: up to there, balanced "
                     "agreement is meant.")
    return Table(
        caption=f"What a copy of {audit.target} costs: queries, dollars and the cheapest attack",
        heads=("callers see", *(f"{level:.0%} agreement" for level in LEVELS)), rows=tuple(rows),
        notes=(*notes, "≤: the least budget that was tried got there; fewer queries may do.", _control(audit)))


def _cell(audit: Audit, level: float, surface: str) -> str:
    reach = audit.reach(level, surface)
    if reach is None:
        return "not reached" if _of(audit, surface) else "not tried"
    usd = f", {dollars(reach.usd)}" if reach.usd else ""
    return f"{'≤ ' if reach.is_bound else ''}{reach.queries:,}{usd}, {reach.attack}"


def _control(audit: Audit) -> str:
    control = audit.control
    if control.student == "majority":
        return f"Control: the most frequent label alone agrees on {control.fidelity:.1%}."
    if control.student == "inputs":
        return f"Control: the inputs themselves, without any answer, share {control.fidelity:.1%} of neighbours."
    accuracy = "" if control.accuracy is None else f" and is right on {control.accuracy:.1%}"
    return (f"Control: a student of {control.rows:,} inputs with true labels, without any answer, agrees on "
            f"{control.fidelity:.1%}{accuracy}.")


def _attacks(audit: Audit, name: str) -> Table:
    points = _of(audit, name)
    budgets = sorted({point.budget for point in points})
    attacks = list(dict.fromkeys(point.attack for point in points))
    by_place = {(point.attack, point.budget): point for point in points}
    n_seeds = max(point.n_seeds for point in points)
    return Table(
        caption=f"Agreement with the target through '{name}', by queries",
        heads=("attack", *(f"{budget:,}" for budget in budgets)),
        rows=tuple((attack, *(_share(by_place.get((attack, budget))) for budget in budgets))
                   for attack in attacks),
        notes=(f"Mean of {n_seeds} seeds (least-largest), on inputs of the deployment that no attack saw.",
               *_skipped(audit, name)))


def _share(point: Point | None) -> str:
    if point is None:
        return "-"
    if point.low == point.high:
        return f"{point.fidelity:.1%}"
    return f"{point.fidelity:.1%} ({100 * point.low:.1f}-{100 * point.high:.1f})"


def _skipped(audit: Audit, name: str) -> list[str]:
    return [f"{each.attack}: {each.reason}." for each in audit.skipped if each.surface == name]


def _surfaces(audit: Audit) -> Table:
    return Table(
        caption="What honest users get", heads=("callers see", "an answer has", "label unchanged", "accuracy"),
        rows=tuple((surface.name, ", ".join(surface.shows), f"{surface.label_unchanged:.1%}",
                    "unknown" if surface.accuracy is None else f"{surface.accuracy:.1%}")
                   for surface in audit.surfaces))


def _findings(audit: Audit) -> Table:
    who = f"Authorised by {audit.authorized_by}." if audit.authorized_by else "Nobody was named as authorising it."
    references = sorted({reference for finding in audit.findings for reference in finding.references})
    n_found = len(audit.findings)
    return Table(
        caption=f"{n_found} finding{'' if n_found == 1 else 's'}", heads=("severity", "finding", "remedy"),
        is_prose=True,
        rows=tuple((finding.severity, finding.text, finding.remedy) for finding in audit.findings),
        notes=(*(f"Mind: {warning}." for warning in audit.warnings), *LIMITS,
               f"{who} Surrogates were dropped once they were measured. The target itself answered "
               f"{audit.queries_asked:,} queries.", *([f"See {'; '.join(references)}."] if references else [])))


def _figure(audit: Audit, name: str) -> Figure:
    return Figure(caption=f"Agreement against queries, callers see '{name}'",
                  svg=curves(_of(audit, name), audit.control.fidelity, name))


def _of(audit: Audit, name: str) -> list[Point]:
    return [point for point in audit.points if point.surface == name]


def _lead(audit: Audit) -> str:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    digest = f", configuration {audit.config_digest}" if audit.config_digest else ""
    return f"Made by `counterclone audit --seed {audit.seed}` on {today} in {audit.seconds:.0f} seconds{digest}."

"""A sweep for people: a table in the terminal, and a page with the frontier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from counterclone.audit.findings import dollars
from counterclone.report.drawing import COLOURS, INK, LINE, drawing
from counterclone.report.page import Figure, Table, print_table, write_html
from counterclone.tune import Point, Tuned
from counterclone.tune.settings import AS_IT_IS, LABELS

BOUNDS = (AS_IT_IS, LABELS)
"""What no setting is above, and what none on probabilities is below but by chance."""
LIMITS = (
    "What wasn't reached isn't safe: a better attack or a larger budget may exist. Labels alone are the floor of "
    "any policy on probabilities.",
    "Agreement is that of the nearest copy with the largest budget, in brackets the least and the largest of its "
    "seeds. Differences within these may be chance.")


def show(tuned: Tuned, file: TextIO) -> None:
    """Print the settings that every attack was tried on, and the choice."""
    print_table(frontier_table(tuned), file)


def write(path: Path, tuned: Tuned) -> None:
    """Write the page.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    lead = (f"{tuned.reason}. Seed {tuned.seed}, budgets {', '.join(f'{each:,}' for each in tuned.budgets)}, "
            f"{len(tuned.points)} settings in {tuned.seconds:,.0f} s.")
    write_html(path, f"Settings for {tuned.target}", lead, parts(tuned))


def parts(tuned: Tuned) -> list[Table | Figure]:
    """The frontier and the tables, in the order of a page.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    return [
        Figure(caption="Honest users' loss against a copy's agreement", svg=frontier(tuned),
               notes=("Filled: every attack that fits was tried. Hollow: a student alone; others may beat it.",)),
        frontier_table(tuned), _others(tuned)]


def frontier_table(tuned: Tuned) -> Table:
    """The settings that can be chosen, the hardest to copy first."""
    points = sorted(tuned.frontier, key=lambda point: point.fidelity)
    notes = [f"{tuned.reason[:1].upper()}{tuned.reason[1:]}.", *tuned.warnings,
             f"A copy without any answer agrees on {tuned.control:.1%}, the most frequent label alone on "
             f"{tuned.majority:.1%}.", *LIMITS]
    return Table(
        caption=f"Settings for {tuned.target}, each against every attack that fits",
        heads=("setting", "accuracy", "calibration error", "copy agrees on", "by", "queries to 90 %", "dollars"),
        rows=tuple((("* " if point.settings == tuned.chosen else "") + point.name, *_cells(point),
                    f"{point.fidelity:.1%} ({point.fidelity_low:.1%}-{point.fidelity_high:.1%})", point.attack,
                    *_ninety(point)) for point in points),
        notes=tuple(notes))


def _others(tuned: Tuned) -> Table:
    others = [point for point in tuned.points if not point.is_judged]
    return Table(caption="All other settings, each against a student of the answers with one seed",
                 heads=("setting", "accuracy", "calibration error", "copy agrees on"),
                 rows=tuple((point.name, *_cells(point), f"{point.fidelity:.1%}") for point in others))


def _cells(point: Point) -> tuple[str, str]:
    calibration = point.calibration_error_increase
    return (f"{-point.accuracy_loss:+.2%}" if abs(point.accuracy_loss) > 1e-9 else "same",
            "not told" if calibration is None else f"{calibration:+.3f}")


def _ninety(point: Point) -> tuple[str, str]:
    if point.queries_to_90 is None:
        return "not reached", "-"
    bound = "≤ " if point.is_bound else ""
    return f"{bound}{point.queries_to_90:,}", dollars(point.usd_to_90) if point.usd_to_90 else "-"


def frontier(tuned: Tuned) -> str:
    """Each setting by what honest users lose and what a copy agrees on, as an `svg` element.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    with drawing(8.6, 4.4, "frontier") as (figure, drawn):
        from matplotlib.ticker import PercentFormatter, ScalarFormatter

        axes = figure.add_subplot()
        others = [point for point in tuned.points if not point.is_judged]
        axes.scatter(_losses(others), [point.fidelity for point in others], facecolors="none", edgecolors=LINE,
                     linewidths=1.2, s=28)
        for number, point in enumerate(tuned.frontier):
            is_chosen = point.settings == tuned.chosen
            axes.errorbar(_losses([point]), [point.fidelity],
                          [[point.fidelity - point.fidelity_low], [point.fidelity_high - point.fidelity]],
                          marker="*" if is_chosen else "o", markersize=13 if is_chosen else 6, capsize=2.0,
                          linestyle="none", color=COLOURS[number % len(COLOURS)],
                          label=f"{point.name} (chosen)" if is_chosen else point.name)
        for point in tuned.frontier:
            if point.name in BOUNDS:
                axes.axhline(point.fidelity, color=INK, linewidth=1.0, linestyle=(0, (1, 2)))
                axes.annotate(point.name, (1.0, point.fidelity), (-4, 3), xycoords=("axes fraction", "data"),
                              textcoords="offset points", fontsize=8.5, ha="right")
        axes.set_xscale("symlog", linthresh=0.01)
        axes.set_xlim(left=0.0)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("what honest users lose: mean change of a row (L1)")
        axes.set_ylabel("nearest copy's agreement")
        axes.grid(visible=True, linewidth=0.5)
        figure.legend(loc="outside right upper")
        return drawn("Settings by the loss of honest users and the agreement of the nearest copy")


def _losses(points: Sequence[Point]) -> list[float]:
    return [point.utility.l1 for point in points]

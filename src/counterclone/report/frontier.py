"""The frontier of a sweep as a drawing."""

from __future__ import annotations

from collections.abc import Sequence

from counterclone.report.drawing import COLOURS, INK, LINE, drawing
from counterclone.tune import Point, Tuned
from counterclone.tune.settings import AS_IT_IS, LABELS

BOUNDS = (AS_IT_IS, LABELS)
"""What no setting is above, and what none on probabilities is below but by chance."""


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
                          zorder=3.0 if is_chosen else 2.0, linestyle="none", color=COLOURS[number % len(COLOURS)],
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

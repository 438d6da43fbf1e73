"""Fidelity curves as SVG, drawn by matplotlib."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from counterclone.audit.curve import Point
from counterclone.audit.findings import dollars
from counterclone.report.drawing import COLOURS, INK, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS, STYLES = "osD^vPX", ("-", "--", ":")
ROOM = 0.05


def curves(points: Sequence[Point], control: float, name: str) -> str:
    """The curve of each attack on one surface, as an `svg` element.

    Args:
        points: of one surface.
        control: the fidelity of what needs no answers.
        name: of the surface.

    Raises:
        ConfigError: matplotlib isn't installed.
    """
    with drawing(8.6, 4.0, name) as (figure, drawn):
        from matplotlib.ticker import NullLocator, PercentFormatter, ScalarFormatter

        axes = figure.add_subplot()
        for number, (attack, line) in enumerate(_lines(points).items()):
            fidelity = [point.fidelity for point in line]
            spread = [[max(point.fidelity - point.low, 0.0) for point in line],
                      [max(point.high - point.fidelity, 0.0) for point in line]]
            axes.errorbar(
                [point.queries for point in line], fidelity, spread, label=attack, linewidth=1.6, markersize=4.5,
                elinewidth=0.9, capsize=2.0, color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)], linestyle=STYLES[number // len(COLOURS) % len(STYLES)])
        axes.axhline(control, color=INK, linewidth=1.0, linestyle=(0, (1, 2)))
        axes.annotate("without any answer", (0.0, control), (4, 3), xycoords=("axes fraction", "data"),
                      textcoords="offset points", fontsize=8.5)
        axes.set_xscale("log")
        axes.set_ylim(max(min([control, *(point.low for point in points)]) - ROOM, 0.0), 1.0 + ROOM / 5)
        axes.set_xticks(sorted({point.budget for point in points}))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("queries")
        axes.set_ylabel("agreement with the target")
        axes.grid(visible=True, linewidth=0.5)
        figure.legend(loc="outside right upper")
        _dollars(axes, points)
        return drawn(f"Agreement with the target against queries, surface {name}")


def _lines(points: Sequence[Point]) -> dict[str, list[Point]]:
    """The points of each attack, those that got furthest first."""
    lines: defaultdict[str, list[Point]] = defaultdict(list)
    for point in points:
        lines[point.attack].append(point)
    return dict(sorted(lines.items(), key=lambda line: -max(point.fidelity for point in line[1])))


def _dollars(axes: Axes, points: Sequence[Point]) -> None:
    """A second axis above, where a query has a price of its own."""
    prices = {round(point.usd / point.queries, 12) for point in points if point.queries}
    if len(prices) != 1 or not (price := prices.pop()):
        return
    from matplotlib.ticker import FuncFormatter, NullLocator

    there_and_back: Any = (lambda queries: queries * price, lambda usd: usd / price)
    above = axes.secondary_xaxis("top", functions=there_and_back)
    above.set_xticks([budget * price for budget in sorted({point.budget for point in points})])
    above.xaxis.set_major_formatter(FuncFormatter(lambda usd, place: dollars(usd)))
    above.xaxis.set_minor_locator(NullLocator())

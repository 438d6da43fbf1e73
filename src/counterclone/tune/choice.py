"""Which settings are worth judging by every attack, and which of these to run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from counterclone.tune.result import Point
from counterclone.tune.settings import AS_IT_IS, LABELS

MOST_JUDGED = 6
FEWEST_INPUTS = 100
ROUNDING = 1e-12


class Limits(NamedTuple):
    """What honest users may lose at the most.

    Attributes:
        accuracy_loss: of the top label.
        calibration_error_increase: of the top probability.
        honest_limited: the share of honest accounts that a limit may ever refuse.
    """

    accuracy_loss: float = 0.0
    calibration_error_increase: float = 0.02
    honest_limited: float = 0.01


class Choice(NamedTuple):
    """A setting, None for none, and why."""

    point: Point | None
    reason: str


def frontier(points: Sequence[Point], limits: Limits, always: Sequence[str] = ()) -> list[Point]:
    """Up to six settings: those that no other beats in what honest users lose and what a copy agrees on, first.

    Within the limits before beyond them, since only these can be chosen; of the rest the hardest to copy. Nothing,
    labels alone and the owner's own are always among them, as ceiling, floor and comparison.

    Args:
        points: as a student alone found them.
        limits: of the choice.
        always: the names of others that are always among them.
    """
    fixed = [point for point in points if point.name in (AS_IT_IS, LABELS, *always)]
    free = [point for point in points if point not in fixed]
    free.sort(key=lambda point: (not is_within(point, limits), any(_beats(other, point) for other in points),
                                 point.fidelity, _loss(point)))
    return [*fixed, *free][:max(MOST_JUDGED, len(fixed))]


def choose(points: Sequence[Point], limits: Limits, n_inputs: int) -> Choice:
    """The setting within the limits that a copy costs most through; of equals what costs honest users least.

    Args:
        points: that every attack was tried on.
        limits: of what honest users may lose.
        n_inputs: that their loss is told by.
    """
    if n_inputs < FEWEST_INPUTS:
        return Choice(None, f"{n_inputs} inputs can't tell what honest users lose; give {FEWEST_INPUTS} or more")
    within = [point for point in points if is_within(point, limits)]
    if not within:
        nearest = min(points, key=lambda point: _excess(point, limits))
        binds = ("accuracy_loss_max" if nearest.accuracy_loss > limits.accuracy_loss + ROUNDING
                 else "calibration_error_increase_max")
        return Choice(None, f"no setting is within the limits; {binds} binds, and '{nearest.name}' is the nearest "
                      f"(accuracy {-nearest.accuracy_loss:+.2%}, calibration error {_calibration(nearest):+.3f})")
    best = min(within, key=_cost_of_a_copy)
    reached = (f"a 90 % copy takes {best.queries_to_90:,} queries" if best.queries_to_90 is not None
               else f"no attack copied 90 %, the nearest {best.fidelity:.1%}")
    return Choice(best, f"'{best.name}' is within the limits, and {reached}, by the best of the attacks")


def is_within(point: Point, limits: Limits) -> bool:
    """Whether honest users lose no more than they may; calibration counts where true labels tell it."""
    return _excess(point, limits) <= ROUNDING


def _cost_of_a_copy(point: Point) -> tuple[float, float, float]:
    queries = math.inf if point.queries_to_90 is None else point.queries_to_90
    return -queries, round(point.fidelity, 3), _loss(point)


def _excess(point: Point, limits: Limits) -> float:
    return max(point.accuracy_loss - limits.accuracy_loss,
               _calibration(point) - limits.calibration_error_increase, 0.0)


def _beats(one: Point, other: Point) -> bool:
    """Whether one is no worse in anything, and better in something."""
    ours, theirs = _measures(one), _measures(other)
    return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))


def _measures(point: Point) -> tuple[float, float, float]:
    return point.accuracy_loss, _calibration(point), point.fidelity


def _calibration(point: Point) -> float:
    return point.calibration_error_increase or 0.0


def _loss(point: Point) -> float:
    return max(point.accuracy_loss, 0.0) + max(_calibration(point), 0.0) + point.utility.l1 / 1000

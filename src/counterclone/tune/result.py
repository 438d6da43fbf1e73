"""What a sweep found; its fields are those of `counterclone tune --json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from counterclone.audit import Utility


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One setting: what honest users lose, and what a copier gets.

    Attributes:
        name: the setting in short.
        settings: its policies, as tables of the file.
        accuracy_loss: of the top label.
        calibration_error_increase: None without true labels.
        fidelity: of the nearest copy with the largest budget, the mean of the seeds.
        fidelity_low: the least of the seeds.
        fidelity_high: the largest.
        attack: that made it.
        queries_to_90: to a 90 % copy by the cheapest attack, None where none reached it.
        usd_to_90: what these cost.
        is_bound: whether the least budget that was tried got there already, so that fewer queries may do.
        is_judged: whether every attack that fits was tried; else a student alone, which a better attack may beat.
        utility: all that honest users lose.
    """

    name: str
    settings: tuple[Mapping[str, Any], ...]
    accuracy_loss: float
    calibration_error_increase: float | None
    fidelity: float
    fidelity_low: float
    fidelity_high: float
    attack: str
    queries_to_90: int | None
    usd_to_90: float | None
    is_bound: bool
    is_judged: bool
    utility: Utility


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """A sweep.

    Attributes:
        target: what was tuned.
        seed: the first of the trials'.
        budgets: queries that copiers had.
        points: all settings; those on the frontier are judged.
        chosen: the policies of the setting that was chosen, None where there is none.
        reason: why that one, or why none.
        control: agreement of a copy without a single answer.
        majority: of the most frequent label alone.
        warnings: what makes figures less true.
        seconds: of the whole sweep.
    """

    target: str
    seed: int
    budgets: tuple[int, ...]
    points: list[Point]
    chosen: tuple[Mapping[str, Any], ...] | None
    reason: str
    control: float
    majority: float
    warnings: list[str]
    seconds: float

    @property
    def frontier(self) -> list[Point]:
        """The points that every attack was tried on."""
        return [point for point in self.points if point.is_judged]

"""What a sweep found; its fields are those of `counterclone tune --json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from counterclone.audit import Utility
from counterclone.tune.economics import Effort
from counterclone.tune.quotas import Quota
from counterclone.tune.suspicion import Bar


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
        attacks: that were tried, by name.
        latency_us: CPU that the policies take for a row, in microseconds; None where classes aren't known.
        days_to_90: that one account needs for as many queries at the limits; None where there are none of either.
        accounts_to_90: that ask as many in a day, likewise.
        bars: what the copier has that gets furthest before each risk; none where no honest traffic is known.
        quotas: limits, and what this copy, or all that was tried, then takes.
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
    attacks: tuple[str, ...] = ()
    latency_us: float | None = None
    days_to_90: float | None = None
    accounts_to_90: int | None = None
    bars: tuple[Bar, ...] = ()
    quotas: tuple[Quota, ...] = ()

    @property
    def at_alarm(self) -> Bar | None:
        """What the copier has that gets furthest before an alarm."""
        return self.bars[-1] if self.bars else None


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
        training_cost_usd: what the model cost, 0 where nobody says.
        chosen_limit: the limit that was chosen for the setting, None where there is none.
        limit_reason: why that one, or why none.
        honest_accounts: that told what limits and risks mean for honest users.
        limits: an account's, with which efforts were reckoned: the file's, the chosen one in its place.
        efforts: how far copiers get through the chosen setting, or the hardest to copy, within the limits.
        marks: what marks change besides, in words.
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
    training_cost_usd: float = 0.0
    chosen_limit: Quota | None = None
    limit_reason: str = ""
    honest_accounts: int = 0
    limits: dict[str, float] = msgspec.field(default_factory=dict)
    efforts: list[Effort] = msgspec.field(default_factory=list)
    marks: tuple[str, ...] = ()

    @property
    def frontier(self) -> list[Point]:
        """The points that every attack was tried on."""
        return [point for point in self.points if point.is_judged]

    @property
    def served(self) -> Point | None:
        """The setting that was chosen, else the hardest to copy of those that were judged."""
        own = [point for point in self.frontier if point.settings == self.chosen]
        return next(iter(own or sorted(self.frontier, key=lambda point: point.fidelity)), None)

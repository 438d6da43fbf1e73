"""What audits say of settings: what honest users lose, and what a copy takes at the limits."""

from __future__ import annotations

from collections.abc import Sequence

from counterclone import audit
from counterclone.audit import Audit
from counterclone.audit.curve import in_queries
from counterclone.budgets import Limit, Pace, copy_limit, pace
from counterclone.tune.economics import Effort, efforts
from counterclone.tune.latency import microseconds
from counterclone.tune.quotas import PERIODS, Quota, Rung, quotas
from counterclone.tune.result import Point
from counterclone.tune.settings import Setting
from counterclone.tune.subject import Subject
from counterclone.tune.suspicion import Bar

LEVEL = 0.9


class Outcome:
    """One audit of settings, read setting by setting.

    Args:
        subject: what was audited.
        found: the audit.
        is_judged: whether every attack that fits was tried; else a student alone.
    """

    def __init__(self, subject: Subject, found: Audit, *, is_judged: bool) -> None:
        self._subject = subject
        self._found = found
        self._is_judged = is_judged
        self._shown = {shown.name: shown for shown in found.surfaces}

    def point(self, setting: Setting, classes: int | None, *, bars: Sequence[Bar] = (),
              rungs: Sequence[Rung] = ()) -> Point:
        """A setting with its figures.

        Args:
            setting: one that was audited.
            classes: of an answer, None where nobody knows.
            bars: what copiers have when they stand out.
            rungs: limits that are tried.
        """
        lost = self._shown[setting.name].utility
        measured = self.measured(setting.name)
        largest = max((point.budget for point in measured), default=0)
        best = max((point for point in measured if point.budget == largest), key=lambda point: point.fidelity,
                   default=None)
        reach = self._found.reach(LEVEL, setting.name)
        pace = self._pace(setting.name)
        return Point(
            name=setting.name, settings=setting.policies, accuracy_loss=lost.accuracy_loss,
            calibration_error_increase=lost.calibration_error_increase,
            fidelity=best.fidelity if best else 0.0, fidelity_low=best.low if best else 0.0,
            fidelity_high=best.high if best else 0.0, attack=best.attack if best else "",
            queries_to_90=reach.queries if reach else None, usd_to_90=reach.usd if reach else None,
            is_bound=bool(reach and reach.is_bound), is_judged=self._is_judged, utility=lost,
            attacks=tuple(sorted({point.attack for point in measured})),
            latency_us=None if classes is None else microseconds(setting.policies, classes),
            days_to_90=pace and pace.days, accounts_to_90=pace and pace.accounts, bars=tuple(bars),
            quotas=tuple(quotas(rungs, self._needed(setting.name))) if measured else ())

    def measured(self, name: str) -> list[audit.curve.Point]:
        """The audit's points through one setting."""
        return [point for point in self._found.points if point.surface == name]

    def limits(self, name: str, quota: Quota | None = None) -> list[Limit]:
        """An account's limits on queries through a setting.

        Args:
            name: of the setting.
            quota: one that takes the place of the file's own of its key.
        """
        bits = self._shown[name].bits
        found = [in_queries(limit, bits) for limit in self._subject.deployment.limits or ()]
        if share := self._subject.copy_share:
            found.append(copy_limit(share, self._needed(name)))
        if quota is None:
            return found
        chosen = Limit(quota.key, "queries", quota.amount, PERIODS[quota.key])
        return [chosen, *(limit for limit in found if limit.name != quota.key)]

    def efforts(self, name: str, quota: Quota | None = None) -> list[Effort]:
        """How far copiers get through a setting, likewise."""
        return efforts(self.measured(name), self.limits(name, quota))

    def _needed(self, name: str) -> int:
        """Queries of a 90 % copy; as many as were tried where none was reached."""
        reach = self._found.reach(LEVEL, name)
        return reach.queries if reach else max((point.budget for point in self.measured(name)), default=1)

    def _pace(self, name: str) -> Pace | None:
        limits = self.limits(name)
        return pace(self._needed(name), limits) if limits and self._found.reach(LEVEL, name) else None

"""Risk to tiers: what an account gets as long as it looks like a copier.

Callers must not learn at which query their risk passed a bar, or they would learn how much they may ask. So an
account's tier changes at moments only that a keyed hash draws for it, one in each step of time, and new ones in
each; and it goes down only where the risk has stayed below a lower bar for a day.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from counterclone.budgets import DAY
from counterclone.guard.release import Terms
from counterclone.protocols import RiskSource
from counterclone.randomness import Prf

RELEASE = 0.8
"""An account leaves a tier only below this part of its bar."""
HOLD_SECONDS = DAY
"""How long its risk must have been there, unless it has none left."""
PLACES_KEPT = 100_000
ONE = 2.0**64


class Step(NamedTuple):
    """An account went from one tier to another.

    Attributes:
        account: its id.
        level: the tier, from 1; 0 for none.
        risk: of the account at that moment.
    """

    account: str
    level: int
    risk: float


class Tiers:
    """The tier of each account.

    Args:
        bars: the risk from which each tier holds, rising.
        risks: tells an account's risk, from memory.
        moments: draws when accounts are looked at.
        step_seconds: an account is looked at once in so many seconds.
        decided: the tier that the owner put an account into, None where the risk decides.
        tell: takes what changes; on the path of a request, so it may not wait.
        clock: seconds that never go back.
    """

    def __init__(self, bars: Sequence[float], risks: RiskSource, moments: Prf, *, step_seconds: float,
                 decided: Callable[[str], int | None], tell: Callable[[Step], None],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._bars = tuple(bars)
        self._least = min(bars, default=2.0)
        self._risk = risks.risk
        self._moments = moments
        self._step_seconds = step_seconds
        self._decided = decided
        self._tell = tell
        self._clock = clock
        self._places: OrderedDict[str, _Place] = OrderedDict()

    def terms(self, account: str, terms: Terms) -> Terms:
        """What an account gets in its tier; `terms` are what it gets in none."""
        level = self.level(account)
        return terms.tiers[level - 1] if level else terms

    def level(self, account: str) -> int:
        """The tier of an account that asks now, from 1; 0 for none."""
        decided = self._decided(account)
        if decided is not None:
            return decided
        risk, place = self._risk(account), self._places.get(account)
        if place is None:
            if risk < self._least:
                return 0
            place = self._enter(account)
        elif (now := self._clock()) >= place.looks_at:
            self._look(account, place, risk, now)
        return place.level

    def follow(self, earlier: Tiers) -> None:
        """Go on with the places of tiers that had the same bars, as settings change while the guard runs."""
        if earlier._bars == self._bars:
            self._places = earlier._places

    def _enter(self, account: str) -> _Place:
        while len(self._places) >= PLACES_KEPT:
            self._places.popitem(last=False)
        place = self._places[account] = _Place(self._next_look(account, self._clock()))
        return place

    def _look(self, account: str, place: _Place, risk: float, now: float) -> None:
        """Move an account to where its risk says, and say when to look again."""
        before = place.level
        place.move(self._level_of(risk), self._level_of(risk / RELEASE) if risk else 0, now, is_clear=not risk)
        if place.level != before:
            self._tell(Step(account, place.level, risk))
        if place.level or risk >= self._least:
            place.looks_at = self._next_look(account, now)
        else:
            del self._places[account]

    def _level_of(self, risk: float) -> int:
        return sum(bar <= risk for bar in self._bars)

    def _next_look(self, account: str, now: float) -> float:
        """The account's first moment after now: somewhere in each step of time, where only the key knows."""
        step = int(now // self._step_seconds)
        while True:
            share = self._moments.number(f"{account}/{step}".encode()) / ONE
            if (moment := (step + share) * self._step_seconds) > now:
                return moment
            step += 1


class _Place:
    """Where an account is, when it is looked at again, and since when its risk has been too low for it."""

    __slots__ = ("level", "looks_at", "low_since")

    def __init__(self, looks_at: float) -> None:
        self.level = 0
        self.looks_at = looks_at
        self.low_since: float | None = None

    def move(self, level: int, held: int, now: float, *, is_clear: bool) -> None:
        """Go up at once, and down to `held` where that has been lower for long, or where no risk is left."""
        if held >= self.level:
            self.level, self.low_since = max(level, self.level), None
        elif is_clear:
            self.level, self.low_since = 0, None
        elif self.low_since is None:
            self.low_since = now
        elif now - self.low_since >= HOLD_SECONDS:
            self.level, self.low_since = held, None

"""How many days traffic spans, whatever a clock says now and then."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from counterclone.watch.levels import SECONDS_PER_DAY

LONGEST_PAUSE = 366 * SECONDS_PER_DAY
"""Times that lie further apart are a clock's fault, and no traffic lies between them."""


class Span:
    """The days on which there was traffic.

    Attributes:
        days: from the first time to the last, pauses of more than a year left out.
        last: the last time of the longest stretch without such a pause, seconds since 1970; -inf without any.
    """

    def __init__(self) -> None:
        self._ends: dict[int, tuple[float, float]] = {}
        self.days = 0.0
        self.last = -np.inf

    def __len__(self) -> int:
        """Days with traffic."""
        return len(self._ends)

    def add(self, times: NDArray[np.float64]) -> None:
        """Add times, seconds since 1970, (n,)."""
        numbers = np.floor_divide(times, SECONDS_PER_DAY).astype(np.int64)
        for number in np.unique(numbers).tolist():
            own = times[numbers == number]
            self._extend(number, float(own.min()), float(own.max()))
        self._measure()

    def absorb(self, other: Span) -> None:
        """Add another's days."""
        for number, (first, last) in other._ends.items():
            self._extend(number, first, last)
        self._measure()

    def array(self) -> NDArray[np.float64]:
        """The first and the last time of each day, to be restored from: (days, 2)."""
        return np.array(sorted(self._ends.values())).reshape(-1, 2)

    @classmethod
    def restored(cls, array: NDArray[np.float64]) -> Span:
        """A span as `array` had it."""
        span = cls()
        span.add(array.ravel())
        return span

    def _extend(self, number: int, first: float, last: float) -> None:
        known = self._ends.get(number, (first, last))
        self._ends[number] = min(known[0], first), max(known[1], last)

    def _measure(self) -> None:
        ends = self.array()
        pauses = ends[1:, 0] - ends[:-1, 1]
        cuts = np.flatnonzero(pauses > LONGEST_PAUSE)
        seconds = ends[-1, 1] - ends[0, 0] - pauses[cuts].sum() if len(ends) else 0.0
        self.days = float(seconds) / SECONDS_PER_DAY
        stretches = [(len(part), float(part[-1, 1])) for part in np.split(ends, cuts + 1) if len(part)]
        self.last = max(stretches, default=(0, -np.inf))[1]

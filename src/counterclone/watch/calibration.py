"""What an account's scores mean: scales fitted on some honest accounts, ranks among others.

An account is scored when it has sent 5, 10, 15, 20, 30 ... queries. A scale makes the scores at all of these
comparable, so that an account has one number for its life up to now, the largest. Its rank among honest accounts'
says how rare that is, which makes detectors comparable: the account counts by the rarest of its numbers, and is
ranked among honest accounts' rarest ones in their whole lives. So detectors share the false alarms evenly, without
the loss of a correction for their number. The rank is a valid p-value at any time, if an honest account is a draw
from the same accounts as those that calibrate (Vovk, Gammerman, Shafer 2005, "conformal"): an account's own
exchanges may depend on each other as they like.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from counterclone.exchanges import Exchanges
from counterclone.protocols import States, Tracker

Scores = NDArray[np.float64]

_DECADE = (10, 15, 20, 30, 40, 50, 75)
CHECKPOINTS = np.array([5, *(step * 10**power for power in range(6) for step in _DECADE)], dtype=np.int64)
"""Numbers of queries at which accounts are scored; about seven each time that they become ten times as many."""
FEWEST_ACCOUNTS = 30
"""Accounts that a scale is fitted on; of fewer, the scale is that of the checkpoint before."""
_TAIL_ACCOUNTS = 10  # at least, beyond the quantile that measures a width
_FAR_ACCOUNTS = 20
_SMALLEST_THINNING = 0.1
_NARROWEST = 0.01  # of a scale whose accounts all score alike


@dataclass(frozen=True)
class Course:
    """The scores of accounts as they grew, and what they grew to.

    Attributes:
        scores: by checkpoint, NaN where an account didn't get there or had too few, (checkpoints, accounts).
        states: their summaries in the end, (accounts, width).
    """

    scores: Scores
    states: States


class Stretches:
    """Exchanges cut where their accounts reach a checkpoint; made once for all trackers."""

    def __init__(self, exchanges: Exchanges, n_accounts: int) -> None:
        self.counts: NDArray[np.int64] = np.bincount(exchanges.accounts, minlength=n_accounts)
        number = np.searchsorted(CHECKPOINTS, exchanges.ranks() + 1)
        last = int(number.max(initial=-1))
        self._parts = [exchanges.select(np.flatnonzero(number == stretch)) for stretch in range(last + 1)]

    def course(self, tracker: Tracker) -> Course:
        """Learn them stretch by stretch, and score the accounts that reach its end."""
        states = tracker.empty(len(self.counts))
        scores = np.full((len(CHECKPOINTS), len(self.counts)), np.nan)
        for stretch, part in enumerate(self._parts):
            tracker.learn(states, part)
            if stretch == len(CHECKPOINTS):  # beyond the last one
                break
            there = np.flatnonzero(self.counts >= CHECKPOINTS[stretch])
            if len(there):
                scores[stretch, there] = tracker.score(states[there])
        return Course(scores, states)


@dataclass(frozen=True)
class Scale:
    """Scores of any size, at each checkpoint, to numbers that compare: 0 for the honest median.

    Far out it is a logarithm, and a width is about one normal deviation of the honest accounts' upper half.

    Attributes:
        units: the honest accounts' typical score, (checkpoints,).
        medians: of their scores on the logarithmic scale, (checkpoints,).
        widths: likewise, (checkpoints,).
        last: the last checkpoint that enough of them reached.
    """

    units: Scores
    medians: Scores
    widths: Scores
    last: int

    @classmethod
    def fit(cls, scores: Scores) -> Scale | None:
        """The scale of honest accounts' scores, (checkpoints, accounts); None where too few were scored."""
        units, medians, widths = (np.ones(len(scores)) for _ in range(3))
        is_known, last = False, 0
        for point, row in enumerate(scores):
            known = row[np.isfinite(row)]
            if len(known) >= FEWEST_ACCOUNTS:
                units[point] = np.median(np.abs(known)) or 1.0
                logs = np.arcsinh(known / units[point])
                medians[point] = np.median(logs)
                share = min(max(1.0 - _TAIL_ACCOUNTS / len(known), 0.8), 0.95)
                reach = np.quantile(logs, share) - medians[point]
                widths[point] = max(reach / float(ndtri(share)), _NARROWEST)
                if not is_known:  # the checkpoints before it have no scores, or fewer
                    units[:point], medians[:point], widths[:point] = units[point], medians[point], widths[point]
                is_known, last = True, point
            elif is_known:  # nobody honest was seen there: what deviates counts less and less
                units[point], medians[point] = units[point - 1], medians[point - 1]
                widths[point] = widths[last] * (1.0 + math.log(CHECKPOINTS[point] / CHECKPOINTS[last]))
        return cls(units, medians, widths, last) if is_known else None

    def values(self, scores: Scores, points: NDArray[np.intp]) -> Scores:
        """Scores at some checkpoints on this scale, NaN stays: (n,)."""
        values: Scores = (np.arcsinh(scores / self.units[points]) - self.medians[points]) / self.widths[points]
        return values

    def maxima(self, scores: Scores) -> Scores:
        """The largest of each account's whole life, -inf where it was never scored: (accounts,).

        Args:
            scores: (checkpoints, accounts).
        """
        points = np.arange(len(scores))[:, np.newaxis]
        values = self.values(scores, points)
        maxima: Scores = np.where(np.isnan(values), -np.inf, values).max(axis=0, initial=-np.inf)
        return maxima


@dataclass(frozen=True)
class Ranks:
    """The largest values of honest accounts' lives, by one detector or by all.

    Attributes:
        values: of those that were ever scored, from small to large, (n,).
    """

    values: Scores

    @classmethod
    def of(cls, maxima: Scores) -> Ranks:
        """Of those accounts that were scored."""
        return cls(np.sort(maxima[np.isfinite(maxima)]))

    def __len__(self) -> int:
        """How many there are."""
        return len(self.values)

    def p_values(self, maxima: Scores) -> Scores:
        """(1 + honest accounts that went as far) / (1 + honest accounts), 1 where nothing was scored: (n,)."""
        return np.asarray((1.0 + self._n_beyond(maxima)) / (1.0 + len(self.values)), dtype=np.float64)

    def surprises(self, maxima: Scores, *, are_own: bool = False) -> Scores:
        """How rare values are, so that detectors compare: -ln of the p-value, 0 where nothing was scored: (n,).

        Ranks alone would make all accounts alike that are farther out than everybody else by some detector, so
        theirs grows by how much farther that is, in units of how the farthest honest accounts thin out.

        Args:
            maxima: the values.
            are_own: whether they are these honest accounts' own; each is compared with the others then.
        """
        n_beyond = self._n_beyond(maxima) - (are_own & np.isfinite(maxima))
        surprises: Scores = np.log((1.0 + len(self.values)) / (1.0 + n_beyond))
        next_one = self.values[-1 - are_own] if len(self.values) > are_own else np.inf
        is_farthest = (n_beyond == 0) & np.isfinite(maxima)
        surprises[is_farthest] += np.maximum(maxima[is_farthest] - next_one, 0.0) / self._thinning
        return surprises

    def _n_beyond(self, maxima: Scores) -> NDArray[np.intp]:
        return len(self.values) - np.searchsorted(self.values, maxima, side="left")

    @property
    def _thinning(self) -> float:
        """By how much values grow where e times fewer accounts get so far."""
        n_far = min(_FAR_ACCOUNTS, len(self.values) // 2)
        far = self.values[len(self.values) - n_far - 1:]
        return max(float((far - far[0]).sum()) / max(n_far, 1), _SMALLEST_THINNING) if len(far) else 1.0

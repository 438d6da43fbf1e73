"""The hours at which queries come, and the gaps between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors._measured import MeasuredTracker
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

N_HOURS = 24
N_GAPS = 64

_HOURS = slice(1, 1 + N_HOURS)
_GAPS = slice(1 + N_HOURS, 1 + N_HOURS + N_GAPS)
_FIRST_OCTAVE = -6
_OCTAVES = np.arange(N_GAPS) / 2
_AT_ONCE, _MINUTE, _HOUR, _NIGHT = 1.0, 60.0, 3600.0, 5 * 3600.0


class Tempo(Spec, frozen=True):
    """When queries come: the histogram of the hours of the day (UTC) and that of the gaps' sizes.

    People sleep, work in bursts and wait for no round number of seconds; a script asks at one pace round the
    clock. Which hours they are counts for nothing, only how they are spread. A copier who draws his gaps and
    hours from honest traffic isn't seen, and honest programs are like a copier's: the reference must have some.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    words: ClassVar[str] = "come at a pace, or spread over the day, like no honest account's"

    def start(self, reference: Exchanges) -> MeasuredTracker:
        """Begin, with when honest accounts ask."""
        return _Pace.fit(Clock(), reference)


class _Pace(MeasuredTracker):
    """A tracker that compares no accounts with each other.

    How hours and gaps are spread depends on an account's age as much as on its habits: on the first night of a
    watch everybody's queries lie within one day, and the crowd would look like a campaign beside accounts of a
    month.
    """

    def profile(self, states: States) -> NDArray[np.float64]:
        """No dimensions: (n, 0)."""
        return np.empty((len(states), 0))


@dataclass(frozen=True)
class Clock:
    """Exchanges (1 column), how many of them at each hour (24) and after each size of gap (64)."""

    def empty(self, n: int) -> States:
        """Summaries of accounts that did nothing: (n, 89)."""
        return np.zeros((n, 1 + N_HOURS + N_GAPS), dtype=np.int64)

    def learn(self, states: States, exchanges: Exchanges) -> None:
        """Add exchanges, in place."""
        accounts = exchanges.accounts
        hours = (exchanges.times // 3600.0 % N_HOURS).astype(np.intp)
        rows = np.flatnonzero(~np.isnan(exchanges.gaps))
        columns = np.concatenate([np.zeros(len(accounts), dtype=np.intp), 1 + hours,
                                  1 + N_HOURS + _sizes(exchanges.gaps[rows])])
        np.add.at(states, (np.concatenate([accounts, accounts, accounts[rows]]), columns), 1)

    def merge(self, states: States, others: States) -> States:
        """The summaries of both: (n, 89)."""
        return states + others

    def figures(self, states: States) -> NDArray[np.float64]:
        """How concentrated the hours are, how large and how uneven the gaps: (n, 10)."""
        return np.hstack([_of_hours(states[:, _HOURS]), _of_gaps(states[:, _GAPS])])


def _sizes(gaps: NDArray[np.float32]) -> NDArray[np.intp]:
    """The bin of each gap in seconds, two an octave; what is under 1/64 s is in the first: (n,)."""
    mantissas, octaves = np.frexp(gaps)
    sizes = 2 * (octaves - 1 - _FIRST_OCTAVE) + (mantissas >= np.sqrt(np.float32(0.5)))
    return np.where(gaps > 2.0**_FIRST_OCTAVE, sizes, 0).clip(0, N_GAPS - 1).astype(np.intp)


def _of_hours(hours: States) -> NDArray[np.float64]:
    """The first two harmonics' sizes, and the root of the share outside the busiest 8 hours: (n, 3)."""
    total = hours.sum(axis=1)[:, np.newaxis]
    waves = np.exp(2j * np.pi * np.outer(np.arange(N_HOURS), [1, 2]) / N_HOURS)
    days = np.cumsum(np.hstack([hours, hours[:, :8]]), axis=1)
    busiest = (days[:, 8:] - days[:, :-8]).max(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.hstack([np.abs(hours @ waves) / total, np.sqrt(1.0 - busiest / total)])


def _of_gaps(gaps: States) -> NDArray[np.float64]:
    """Mean and spread of the gaps' logarithms, the root of the fullest bins' share, and of four sizes': (n, 7)."""
    total = gaps.sum(axis=1)[:, np.newaxis]
    bounds = _sizes(np.array([_AT_ONCE, _MINUTE, _HOUR, _NIGHT], dtype=np.float32))
    sizes = np.add.reduceat(gaps, bounds, axis=1)
    pairs = (gaps[:, 1:] + gaps[:, :-1]).max(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = gaps @ _OCTAVES[:, np.newaxis] / total
        spread = np.sqrt(np.maximum(gaps @ (_OCTAVES**2)[:, np.newaxis] / total - mean**2, 0.0))
        return np.hstack([mean / 4.0, np.log(spread + 0.25), np.sqrt(pairs / total), np.sqrt(sizes / total)])

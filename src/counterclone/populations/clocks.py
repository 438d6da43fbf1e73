"""When accounts ask. Every clock gives times account by account, each account's in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterclone.populations.population import DAY, START
from counterclone.randomness import Generator

Times = NDArray[np.float64]
Counts = NDArray[np.intp]

_ZONES = np.array([-8.0, -5.0, -3.0, 0.0, 1.0, 3.0, 5.5, 8.0, 9.0, 10.0])
_ZONE_SHARES = np.array([0.10, 0.16, 0.05, 0.12, 0.22, 0.06, 0.11, 0.10, 0.05, 0.03])


@dataclass(frozen=True)
class Span:
    """The days that a population is watched.

    Attributes:
        days: how many.
        start: seconds since 1970.
    """

    days: float
    start: float = START

    def inside(self, times: Times) -> Times:
        """Times after the end, as many days earlier as it takes: nobody's hours change."""
        length = max(np.floor(self.days), 1.0) * DAY if self.days >= 1.0 else self.days * DAY
        return self.start + np.mod(times - self.start, length)


def owners(counts: Counts) -> NDArray[np.intp]:
    """The account of each query, account by account: (queries,)."""
    return np.repeat(np.arange(len(counts)), counts)


def by_people(counts: Counts, span: Span, rng: Generator, *, session: float = 8.0,
              hours: NDArray[np.float64] | None = None, start_days: NDArray[np.float64] | None = None) -> Times:
    """People's: bursts of queries, at each one's hours of the day, on some days of the time that they are here.

    Args:
        counts: queries of each account, (accounts,).
        span: the days.
        rng: draws everything.
        session: the typical number of queries in a burst.
        hours: the middle of each one's day, UTC, (accounts,); drawn by time zones where left out.
        start_days: the first day of each, (accounts,); drawn where left out.
    """
    n = len(counts)
    if hours is None:
        zones = rng.choice(_ZONES, n, p=_ZONE_SHARES)
        hours = np.where(rng.random(n) < 0.7, rng.normal(14.0, 1.5, n), rng.normal(20.5, 1.5, n)) - zones
    begins = rng.random(n) * 0.6 * span.days if start_days is None else start_days
    stays = (span.days - begins) * (0.3 + 0.7 * rng.random(n))
    sizes = session * np.exp(0.6 * rng.standard_normal(n))
    n_bursts = np.minimum(1 + rng.poisson(counts / sizes), np.maximum(counts, 1))
    of_burst = owners(n_bursts)
    days = np.floor(begins[of_burst] + rng.random(len(of_burst)) * stays[of_burst])
    rests = (days + np.floor(span.start / DAY) + 3) % 7 >= 5  # weekends: 1970 began on a Thursday
    days = np.where(rests & (rng.random(len(days)) < 0.6), np.maximum(days - 2.0, 0.0), days)
    spread = np.exp(rng.normal(1.0, 0.3, n))
    clock = np.mod(hours[of_burst] + spread[of_burst] * rng.standard_normal(len(of_burst)), 24.0)
    starts = span.start - np.mod(span.start, DAY) + days * DAY + clock * 3600.0
    paces = np.exp(rng.normal(np.log(20.0), 0.9, n))

    accounts = owners(counts)
    first_burst = np.cumsum(n_bursts) - n_bursts
    burst = first_burst[accounts] + (rng.random(len(accounts)) * n_bursts[accounts]).astype(np.intp)
    burst.sort()  # bursts are numbered account by account, so the owners stay
    gaps = paces[accounts] * np.exp(1.1 * rng.standard_normal(len(accounts)))
    return _sorted(accounts, span.inside(starts[burst] + _since_start(gaps, burst)))


def by_runs(counts: Counts, span: Span, rng: Generator, *, runs: NDArray[np.intp] | int = 1) -> Times:
    """Batch jobs': so many runs, each as fast as one thread asks, at one hour of the day."""
    n = len(counts)
    n_runs = np.minimum(np.broadcast_to(runs, n), np.maximum(counts, 1)).astype(np.intp)
    hours = 24.0 * rng.random(n)
    of_run = owners(n_runs)
    days = np.floor(rng.random(len(of_run)) * span.days)
    minutes = rng.exponential(5.0, len(of_run))
    starts = span.start + days * DAY + hours[of_run] * 3600.0 + 60.0 * minutes
    accounts = owners(counts)
    first = np.cumsum(n_runs) - n_runs
    rank = np.arange(len(accounts)) - np.repeat(np.cumsum(counts) - counts, counts)
    run = first[accounts] + rank * n_runs[accounts] // np.maximum(counts[accounts], 1)
    paces = np.exp(rng.normal(-1.0, 0.8, n))
    gaps = paces[accounts] * (1.0 + rng.exponential(0.3, len(accounts)))
    return _sorted(accounts, span.inside(starts[run] + _since_start(gaps, run)))


def by_machines(counts: Counts, span: Span, rng: Generator, *, jitter: float = 0.02) -> Times:
    """Machines': around the clock at even gaps, each with a period of its own.

    Args:
        counts: queries of each account, (accounts,).
        span: the days; an account's queries fill them.
        rng: draws when each begins, and the jitter.
        jitter: deviation of a time, in gaps.
    """
    accounts = owners(counts)
    rank = np.arange(len(accounts)) - np.repeat(np.cumsum(counts) - counts, counts)
    period = span.days * DAY / np.maximum(counts, 1)
    places = rank + rng.random(len(counts))[accounts] + jitter * rng.standard_normal(len(accounts))
    return _sorted(accounts, span.inside(span.start + places * period[accounts]))


def _since_start(gaps: NDArray[np.float64], groups: NDArray[np.intp]) -> NDArray[np.float64]:
    """Running sums of gaps within each group of neighbours, 0 at its first: (n,)."""
    sums = np.cumsum(gaps)
    firsts = np.flatnonzero(np.diff(groups, prepend=-1))
    return sums - np.repeat(sums[firsts], np.diff(firsts, append=len(groups)))


def _sorted(accounts: NDArray[np.intp], times: Times) -> Times:
    return times[np.lexsort((times, accounts))]

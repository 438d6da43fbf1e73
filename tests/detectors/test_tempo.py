from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from counterclone.detectors.tempo import N_GAPS, N_HOURS, Tempo
from counterclone.exchanges import Exchanges
from counterclone.protocols import States
from counterclone.randomness import generator
from counterclone.testing import check_detector, honest_exchanges

REFERENCE = honest_exchanges(600, seed=1)
TRACKER = Tempo().start(REFERENCE)


def learnt(exchanges: Exchanges) -> States:
    states = TRACKER.empty(max(exchanges.n_accounts, 1))
    TRACKER.learn(states, exchanges)
    return states


def asking(times: NDArray[np.float64]) -> Exchanges:
    """One account that asks then."""
    rows = REFERENCE.select(np.arange(len(times)))
    gaps = np.diff(times, prepend=np.nan).astype(np.float32)
    return replace(rows, accounts=np.zeros(len(times), dtype=np.intp), times=times, gaps=gaps)


def honest_bar(n: int) -> float:
    honest = honest_exchanges(300, seed=2)
    return float(np.nanquantile(TRACKER.score(learnt(honest.select(honest.ranks() < n))), 0.99))


def test_laws() -> None:
    check_detector(Tempo())


@pytest.mark.parametrize("seconds", [10.0, 3600.0])
@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_a_machines_clock_is_seen_within_60_queries(seconds: float, jitter: float) -> None:
    paces = seconds * (1.0 + jitter * generator(0, "jitter").standard_normal(60))
    assert TRACKER.score(learnt(asking(1.7e9 + np.cumsum(paces))))[0] > honest_bar(60)


def test_it_counts_for_nothing_which_hours_they_are() -> None:
    times = REFERENCE.times[REFERENCE.accounts == 3]
    here, there = (TRACKER.score(learnt(asking(times + 3600.0 * hours))) for hours in (0.0, 7.0))
    assert here == pytest.approx(there)


def test_exchanges_are_counted_by_hour_and_by_gap() -> None:
    states = learnt(asking(np.array([3600.0, 3600.0, 3601.0, 7300.0, 1e9])))
    hours, gaps = states[0, 1:1 + N_HOURS], states[0, 1 + N_HOURS:]
    assert states[0, 0] == 5
    assert (hours[1], hours[2], hours.sum()) == (4, 1, 5)
    assert np.flatnonzero(gaps).tolist() == [0, 12, 35, N_GAPS - 1]


@pytest.mark.parametrize(("gap", "place"), [
    (0.0, 0), (1e-30, 0), (0.016, 0), (1.0, 12), (1.41, 12), (1.42, 13), (2.0, 14), (1e30, N_GAPS - 1)])
def test_each_octave_of_gaps_has_two_places(gap: float, place: int) -> None:
    one = replace(asking(np.array([0.0])), gaps=np.array([gap], dtype=np.float32))
    assert np.flatnonzero(learnt(one)[0, 1 + N_HOURS:]).tolist() == [place]

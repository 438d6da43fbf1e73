from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from counterclone.detectors._measured import MeasuredTracker
from counterclone.detectors._sample import shared
from counterclone.detectors.repetition import Repetition, digests
from counterclone.exchanges import Exchanges, join
from counterclone.protocols import States
from counterclone.testing import check_detector, honest_exchanges

REFERENCE = honest_exchanges(600, seed=1)
TRACKER = Repetition().start(REFERENCE)


def learnt(exchanges: Exchanges, tracker: MeasuredTracker = TRACKER) -> States:
    states = tracker.empty(exchanges.n_accounts)
    tracker.learn(states, exchanges)
    return states


def asking(things: NDArray[np.uint64]) -> Exchanges:
    """One account that asks these."""
    rows = REFERENCE.select(np.arange(len(things)) % len(REFERENCE))
    return replace(rows, accounts=np.zeros(len(things), dtype=np.intp), digests=things)


def honest_bar(n: int) -> float:
    honest = honest_exchanges(300, seed=2)
    return float(np.nanquantile(TRACKER.score(learnt(honest.select(honest.ranks() < n))), 0.99))


def test_laws() -> None:
    check_detector(Repetition())


@pytest.mark.parametrize("times", [5, 20])
def test_who_averages_is_seen_within_100_queries(times: int) -> None:
    averaging = asking(np.repeat(np.arange(100 // times, dtype=np.uint64), times))
    assert TRACKER.score(learnt(averaging))[0] > honest_bar(100)


def test_no_repeats_are_no_alarm_where_honest_accounts_have_none() -> None:
    unique = learnt(asking(np.arange(100, dtype=np.uint64)))
    assert TRACKER.score(unique)[0] < honest_bar(100)


def test_no_repeats_are_far_out_where_everybody_repeats() -> None:
    eager = Repetition().start(join([REFERENCE, REFERENCE]))
    never, twice = (learnt(asking(np.repeat(np.arange(100 // times, dtype=np.uint64), times)), eager)
                    for times in (1, 2))
    assert eager.profile(never)[0, 0] < -2.0 < eager.profile(twice)[0, 0]
    assert eager.score(never)[0] > eager.score(twice)[0] + 3.0


def test_queries_without_vectors_repeat_too() -> None:
    bare = replace(REFERENCE, vectors=np.full_like(REFERENCE.vectors, np.nan))
    assert np.array_equal(learnt(bare, Repetition().start(bare)), learnt(REFERENCE))


def test_accounts_that_asked_the_same_are_found() -> None:
    pool = np.arange(150, dtype=np.uint64)
    one, other, apart = (digests(learnt(asking(part))) for part in (pool[:60], pool[30:90], pool[90:]))
    assert 15 <= shared(one, other)[0] <= 30
    assert shared(one, apart)[0] == 0

from __future__ import annotations

import numpy as np
import pytest

from counterclone import plugins
from counterclone.detectors._measured import FARTHEST, FEWEST_QUERIES, MeasuredTracker
from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.protocols import States
from counterclone.testing import honest_exchanges

KINDS = ["coverage", "repetition", "spacing", "tempo"]
REFERENCE = honest_exchanges(600, seed=1)
HONEST = honest_exchanges(600, seed=2)


def start(kind: str, reference: Exchanges = REFERENCE) -> MeasuredTracker:
    tracker = plugins.build("detectors", {"kind": kind}, "here").start(reference)  # type: ignore[attr-defined]
    assert isinstance(tracker, MeasuredTracker)
    return tracker


def learnt(tracker: MeasuredTracker, exchanges: Exchanges) -> States:
    states = tracker.empty(exchanges.n_accounts)
    tracker.learn(states, exchanges)
    return states


def first(exchanges: Exchanges, n: int) -> Exchanges:
    """The first n of the accounts that have so many."""
    totals = np.bincount(exchanges.accounts)
    return exchanges.select(exchanges.ranks() < n).of(np.flatnonzero(totals >= n))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [10, 23, 60])
def test_honest_accounts_surprise_as_often_as_they_should(kind: str, n: int) -> None:
    tracker = start(kind)
    scores = tracker.score(learnt(tracker, first(HONEST, n)))
    scores = scores[~np.isnan(scores)]
    assert np.mean(scores > -np.log(0.2)) < 0.3
    assert np.mean(scores > -np.log(0.02)) < 0.06


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tempo"])
def test_an_honest_profile_is_about_standard(kind: str) -> None:
    tracker = start(kind)
    profile = tracker.profile(learnt(tracker, first(HONEST, 17)))
    assert np.abs(profile.mean(axis=0)).max() < 0.25
    assert profile.std(axis=0).max() < 1.3
    assert np.abs(profile).max() <= FARTHEST


@pytest.mark.parametrize("kind", KINDS)
def test_a_heavy_honest_account_is_no_surprise_where_nobody_was_seen(kind: str) -> None:
    tracker = start(kind, REFERENCE.select(REFERENCE.ranks() < 40))
    totals = np.bincount(HONEST.accounts)
    scores = tracker.score(learnt(tracker, HONEST.of(np.flatnonzero(totals >= 160))))
    assert len(scores) > 5
    assert np.median(scores) < 1.5


@pytest.mark.parametrize("kind", KINDS)
def test_scores_begin_with_five_queries(kind: str) -> None:
    tracker = start(kind)
    before, after = (learnt(tracker, first(HONEST, n)) for n in (FEWEST_QUERIES - 1, FEWEST_QUERIES))
    assert np.isnan(tracker.score(before)).all()
    assert not tracker.profile(before).any()
    assert not np.isnan(tracker.score(after)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_accounts_that_are_alike_score_alike_in_any_batch(kind: str) -> None:
    tracker = start(kind)
    states = learnt(tracker, first(HONEST, 7))
    alone = np.concatenate([tracker.score(states[i:i + 1]) for i in range(len(states))])
    assert tracker.score(states) == pytest.approx(alone, rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_reference_is_refused(kind: str) -> None:
    with pytest.raises(WatchError, match="fewer than 30 accounts with 5 queries each"):
        start(kind, first(HONEST, 20).of(np.arange(20)))

from __future__ import annotations

import numpy as np

from counterclone.detectors.balance import Balance
from counterclone.randomness import Prf
from counterclone.testing import honest_exchanges
from counterclone.watch.cohort import Cohort

KEY = Prf.from_secret("cohort")
EXCHANGES = honest_exchanges(200, seed=3)
COHORT = Cohort(EXCHANGES, EXCHANGES.n_accounts, KEY)
TRACKERS = [Balance().start(honest_exchanges(300, seed=4))]


def test_at_any_age_is_at_their_own() -> None:
    young = COHORT.young(TRACKERS, np.full(3, 1e12))
    whole = TRACKERS[0].empty(len(COHORT))
    TRACKERS[0].learn(whole, EXCHANGES)
    assert np.array_equal(young.states[0], whole)
    assert np.array_equal(young.counts, np.bincount(EXCHANGES.accounts))


def test_nobody_is_older_than_the_oldest() -> None:
    age = float(np.median(np.ptp(EXCHANGES.times)) / 4)
    young = COHORT.young(TRACKERS, np.array([0.0, age]))
    since = EXCHANGES.times - COHORT.births[EXCHANGES.accounts]
    assert (young.counts <= np.bincount(EXCHANGES.accounts[since <= age], minlength=len(COHORT))).all()
    assert 0 < young.counts.sum() < len(EXCHANGES)


def test_ages_are_dealt_alike_each_time() -> None:
    ages = np.linspace(0.0, 1e6, 50)
    first, second = (Cohort(EXCHANGES, EXCHANGES.n_accounts, KEY).young(TRACKERS, ages) for _ in range(2))
    assert np.array_equal(first.counts, second.counts)

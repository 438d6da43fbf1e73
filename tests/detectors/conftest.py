from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from counterclone.exchanges import Exchanges
from counterclone.protocols import Tracker
from counterclone.testing import honest_exchanges

Rate = Callable[[Tracker, Exchanges], float]


@pytest.fixture(scope="session")
def reference() -> Exchanges:
    return honest_exchanges(300, seed=10)


@pytest.fixture(scope="session")
def others() -> Exchanges:
    """Other honest accounts, for attackers' changes to be made to."""
    return honest_exchanges(200, seed=11)


@pytest.fixture
def caught(others: Exchanges) -> Rate:
    """The share of a traffic's accounts that score higher than 99 % of honest ones."""

    def rate(tracker: Tracker, exchanges: Exchanges) -> float:
        scores = []
        for traffic in (others, exchanges):
            states = tracker.empty(traffic.n_accounts)
            tracker.learn(states, traffic)
            scores.append(tracker.score(states))
        return float(np.nanmean(scores[1] > np.nanquantile(scores[0], 0.99)))

    return rate

"""Whom limits refuse, and which is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.budgets import DAY, MINUTE, Limit
from counterclone.errors import LimitExceeded
from counterclone.exchanges import Exchanges
from counterclone.randomness import Prf
from counterclone.stores.memory import MemoryStore
from counterclone.tune import Crowd
from counterclone.tune.quotas import AMOUNTS, choose, ladder, quotas
from counterclone.watch.honest import Honest

START = 1_764_000_000.0


def crowd(times: list[list[float]], kinds: list[str] | None = None) -> Crowd:
    """Accounts that ask a row at each of their times."""
    accounts = np.repeat(np.arange(len(times)), list(map(len, times)))
    flat = START + np.array([time for own in times for time in own])
    order = np.argsort(flat, kind="stable")
    n = len(flat)
    exchanges = Exchanges(
        accounts=accounts[order].astype(np.intp), times=flat[order], vectors=np.zeros((n, 64), np.float32),
        labels=np.zeros(n, np.int32), margins=np.zeros(n, np.float32), digests=np.zeros(n, np.uint64),
        gaps=np.zeros(n, np.float32), bits=np.zeros(n, np.float32))
    names = [str(number) for number in range(len(times))]
    return Crowd(honest=Honest(names, kinds or [""] * len(times), exchanges, {}), detectors=(),
                 false_alarms_per_year=12.0, key=Prf.from_secret("crowd"))


TIMES = st.lists(st.floats(0, 600), min_size=1, max_size=40).map(sorted)


@given(TIMES, st.integers(1, 20), st.sampled_from([MINUTE, 300.0]))
def test_who_is_refused_is_who_the_guard_refuses(times: list[float], amount: int, period: float) -> None:
    clock = [0.0]
    store = MemoryStore(clock=lambda: clock[0])
    limit = Limit("limit", "queries", amount, period)
    refused = 0
    for time in times:
        clock[0] = time
        try:
            store.reserve("account", [limit], [1.0])
        except LimitExceeded:
            refused += 1
    assert crowd([times]).limited(limit).value == float(refused > 0)


def test_accounts_with_a_contract_dont_count() -> None:
    busy = [float(second) for second in range(50)]
    limit = Limit("limit", "queries", 10, DAY)
    assert crowd([busy, [0.0]]).limited(limit).value == 0.5
    found = crowd([busy, [0.0]], ["partner", ""])
    assert len(found) == 1
    assert found.limited(limit).value == 0.0


def test_a_copy_takes_its_queries_at_the_limit() -> None:
    tried = quotas(ladder([Limit("limit_queries_per_day", "queries", 30, DAY)], None), 300)
    found = {(quota.key, quota.amount): quota for quota in tried}
    assert len(found) == sum(map(len, AMOUNTS.values())) + 1
    own = found["limit_queries_per_day", 30]
    assert own.days == pytest.approx(9.0)
    assert own.accounts == 5  # 60 each: a burst, and what refills
    assert own.copy_share == pytest.approx(0.1)
    assert own.honest_limited is None


def test_the_limit_is_chosen_that_honest_accounts_hardly_meet() -> None:
    people = [[3600.0 * hour for hour in range(n % 24)] for n in range(1000)]
    found = list(quotas(ladder([], crowd(people)), 300))
    chosen = choose(found, 0.01)
    assert chosen.quota is not None
    assert (chosen.quota.key, chosen.quota.amount) == ("limit_queries_per_day", 20)
    assert "the limit is limit_queries_per_day = 20" in chosen.reason


def test_few_accounts_choose_nothing_and_the_nearest_is_named() -> None:
    found = list(quotas(ladder([], crowd([[0.0]] * 20)), 300))
    chosen = choose(found, 0.01)
    assert chosen.quota is None
    assert "honest_limited_max binds" in chosen.reason
    assert "limit_queries_per_day = 10" in chosen.reason
    assert "16.11%" in chosen.reason


def test_without_honest_traffic_nothing_is_chosen() -> None:
    chosen = choose(list(quotas(ladder([], None), 300)), 0.01)
    assert chosen.quota is None
    assert "--benign" in chosen.reason

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from tests.watch.test_monitor import COPIERS, KEY, RATE, fed, mixed
from tests.watch.toys import Shift, counts_of, traffic

from counterclone.randomness import generator
from counterclone.watch.monitor import Monitor
from counterclone.watch.ranking import ranked
from counterclone.watch.reference import Reference

Accounts = list[tuple[str, float]]


@pytest.fixture(name="reference", scope="module")
def fixture_reference() -> Reference:
    rng = generator(0, "ranking", "reference")
    return Reference.fit(traffic(rng, counts_of(rng, 1200)), [Shift(), Shift(column=1)], KEY)


@pytest.fixture(name="monitor", scope="module")
def fixture_monitor(reference: Reference) -> Monitor:
    return fed(reference, mixed())


def everybody(monitor: Monitor, campaigns: dict[str, float] | None = None, **options: Any) -> Accounts:
    """All accounts of a question."""
    found = ranked(monitor, campaigns or {}, count=10_000, **options)
    assert found.n_found == len(found.accounts)
    return found.accounts


def test_all_accounts_come_by_the_risk_that_the_monitor_tells(monitor: Monitor) -> None:
    found = everybody(monitor)
    assert {name for name, _ in found} == set(monitor.accounts)
    assert [risk for _, risk in found] == sorted((risk for _, risk in found), reverse=True)
    for name, risk in found:
        assert risk == pytest.approx(monitor.risk(name))
    assert {name for name, _ in found[:6]} == set(COPIERS)


def test_a_campaigns_risk_is_its_accounts(monitor: Monitor) -> None:
    last, _ = everybody(monitor)[-1]
    assert dict(everybody(monitor, {last: 0.9, "forgotten": 1.0}))[last] == 0.9
    assert everybody(monitor, {COPIERS[0]: 0.1})[0][1] == 1.0


def test_accounts_are_found_by_name_and_by_risk(monitor: Monitor) -> None:
    assert {name for name, _ in everybody(monitor, containing="COPIER")} == set(COPIERS)
    assert everybody(monitor, containing="nobody") == []
    suspected = everybody(monitor, least=0.5)
    assert [risk for _, risk in suspected] == [risk for _, risk in everybody(monitor) if risk >= 0.5]


@pytest.mark.parametrize(("first", "count"), [(0, 50), (100, 50), (300, 50), (10**9, 50), (10**9, 102), (0, 1)])
def test_a_page_is_a_part_of_all(monitor: Monitor, first: int, count: int) -> None:
    whole = everybody(monitor)
    found = ranked(monitor, {}, first=first, count=count)
    assert found.n_found == len(whole) == 306
    begin = min(first, 305 // count * count)
    assert found.accounts == whole[begin:begin + count]


def test_nobody_is_ranked_where_nobody_is_known(reference: Reference) -> None:
    assert everybody(Monitor(reference, false_alarms_per_year=12.0)) == []


def test_it_may_be_asked_while_another_thread_feeds(reference: Reference) -> None:
    monitor = Monitor(reference, false_alarms_per_year=RATE, max_accounts=500)
    one = traffic(generator(3, "ranking"), np.full(100, 5))
    problems: list[Exception] = []

    def feed() -> None:
        for i in range(60):
            monitor.feed([f"{i} {j}" for j in range(100)], one)

    thread = threading.Thread(target=feed)
    thread.start()
    while thread.is_alive():
        try:
            assert len(everybody(monitor)) <= 500
        except Exception as error:
            problems.append(error)
    assert problems == []

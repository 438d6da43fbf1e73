from __future__ import annotations

import threading

import numpy as np
import pytest
from tests.watch.test_monitor import COPIERS, KEY, RATE, fed, mixed
from tests.watch.toys import Shift, counts_of, traffic

from counterclone.randomness import generator
from counterclone.watch.monitor import Monitor
from counterclone.watch.ranking import ranked
from counterclone.watch.reference import Reference


@pytest.fixture(name="reference", scope="module")
def fixture_reference() -> Reference:
    rng = generator(0, "ranking", "reference")
    return Reference.fit(traffic(rng, counts_of(rng, 1200)), [Shift(), Shift(column=1)], KEY)


@pytest.fixture(name="monitor", scope="module")
def fixture_monitor(reference: Reference) -> Monitor:
    return fed(reference, mixed())


def test_all_accounts_come_by_the_risk_that_the_monitor_tells(monitor: Monitor) -> None:
    found = ranked(monitor, {})
    assert {name for name, _ in found} == set(monitor.accounts)
    assert [risk for _, risk in found] == sorted((risk for _, risk in found), reverse=True)
    for name, risk in found:
        assert risk == pytest.approx(monitor.risk(name))
    assert {name for name, _ in found[:6]} == set(COPIERS)


def test_a_campaigns_risk_is_its_accounts(monitor: Monitor) -> None:
    last, _ = ranked(monitor, {})[-1]
    assert dict(ranked(monitor, {last: 0.9, "forgotten": 1.0}))[last] == 0.9
    assert ranked(monitor, {COPIERS[0]: 0.1})[0][1] == 1.0


def test_accounts_are_found_by_name_and_by_risk(monitor: Monitor) -> None:
    assert {name for name, _ in ranked(monitor, {}, containing="COPIER")} == set(COPIERS)
    assert ranked(monitor, {}, containing="nobody") == []
    suspected = ranked(monitor, {}, least=0.5)
    assert [risk for _, risk in suspected] == [risk for _, risk in ranked(monitor, {}) if risk >= 0.5]


def test_nobody_is_ranked_where_nobody_is_known(reference: Reference) -> None:
    assert ranked(Monitor(reference, false_alarms_per_year=12.0), {}) == []


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
            assert len(ranked(monitor, {})) <= 500
        except Exception as error:
            problems.append(error)
    assert problems == []

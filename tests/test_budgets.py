from __future__ import annotations

import pytest

from counterclone.budgets import DAY, MINUTE, Limit


@pytest.mark.parametrize(("amount", "period_seconds", "expected"), [
    (600.0, MINUTE, 0.1), (1.0, DAY, 86_400.0), (20_000.0, DAY, 4.32), (0.5, MINUTE, 120.0),
], ids=["a minute's", "one a day", "a day's", "half a unit"])
def test_a_unit_refills_in_its_part_of_the_period(amount: float, period_seconds: float, expected: float) -> None:
    assert Limit("limit", "queries", amount, period_seconds).seconds_per_unit == pytest.approx(expected)


def test_a_day_is_a_day() -> None:
    assert (MINUTE, DAY) == (60.0, 24 * 60 * 60)


def test_limits_are_compared_by_what_they_are() -> None:
    limit = Limit("limit_queries_per_day", "queries", 5.0, DAY)
    assert limit == Limit(name="limit_queries_per_day", unit="queries", amount=5.0, period_seconds=DAY)
    assert limit != limit._replace(amount=6.0)

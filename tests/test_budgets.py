from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.budgets import DAY, MINUTE, Limit, Meter, Price
from counterclone.errors import BudgetExhausted


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


@given(st.floats(0.1, 1e4), st.floats(1.0, 1e5), st.floats(0.0, 1e6))
def test_what_a_time_admits_takes_that_time(amount: float, period_seconds: float, seconds: float) -> None:
    limit = Limit("limit", "queries", amount, period_seconds)
    assert limit.seconds_to(limit.admits(seconds)) == pytest.approx(seconds, rel=1e-6, abs=1e-6 * period_seconds)
    assert limit.seconds_to(amount) == 0.0


# What an attack spends

ROWS = [b"aaaaaaaa", b"bbbbbbbb", b"aaaaaaaa"]


def test_a_meter_counts_rows_calls_bytes_and_repeats() -> None:
    meter = Meter(10)
    meter.admit(ROWS)
    meter.admit(ROWS[:1])
    assert (meter.queries, meter.calls, meter.bytes, meter.repeats, meter.left) == (4, 2, 32, 2, 6)


def test_a_batch_that_is_too_large_is_refused_whole() -> None:
    meter = Meter(3)
    meter.admit(ROWS[:2])
    with pytest.raises(BudgetExhausted, match="2 queries were asked with 1 of 3 left"):
        meter.admit(ROWS[:2])
    assert (meter.queries, meter.calls, meter.bytes, meter.repeats) == (2, 1, 16, 0)
    meter.admit(ROWS[:1])
    assert meter.left == 0


@pytest.mark.parametrize(("price", "usd"), [
    (Price(), 0.0), (Price(usd_per_query=0.0015), 0.0045), (Price(usd_per_token_in=1e-6), 6e-6),
    (Price(usd_per_token_out=2e-6), 6e-5), (Price(0.0015, 1e-6, 2e-6), 0.004566),
], ids=["free", "a query", "a token in", "a token out", "all"])
def test_what_was_asked_is_priced(price: Price, usd: float) -> None:
    meter = Meter(10, price)
    meter.admit(ROWS)  # 24 bytes are 6 tokens
    meter.numbers += 30
    assert meter.usd == pytest.approx(usd)


@given(st.lists(st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=5), max_size=10),
       st.integers(0, 20))
def test_a_meter_never_admits_more_than_its_budget(batches: list[list[bytes]], budget: int) -> None:
    meter, asked = Meter(budget), list[bytes]()
    for batch in batches:
        with contextlib.suppress(BudgetExhausted):
            meter.admit(batch)
            asked += batch
    assert meter.queries == len(asked) <= budget
    assert meter.repeats == len(asked) - len(set(asked))
    assert meter.bytes == sum(map(len, asked))

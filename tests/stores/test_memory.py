from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from throttled import RateLimiterType, Throttled, rate_limiter, utils
from throttled import store as throttled_store

from counterclone.budgets import DAY, MINUTE, Limit
from counterclone.errors import LimitExceeded
from counterclone.randomness import generator
from counterclone.stores.memory import SLACK, MemoryStore

if TYPE_CHECKING:
    from tests.conftest import Clock


def queries(amount: float, period_seconds: float = MINUTE) -> Limit:
    return Limit("limit_queries_per_minute", "queries", amount, period_seconds)


def is_admitted(store: MemoryStore, limits: Sequence[Limit], costs: Sequence[float], account: str = "a") -> bool:
    try:
        store.reserve(account, limits, costs)
    except LimitExceeded:
        return False
    return True


def refusal(store: MemoryStore, limits: Sequence[Limit], costs: Sequence[float]) -> LimitExceeded:
    with pytest.raises(LimitExceeded) as caught:
        store.reserve("a", limits, costs)
    return caught.value


def wait_of(store: MemoryStore, limits: Sequence[Limit], costs: Sequence[float]) -> float:
    """Seconds to wait, 0 where the costs were taken."""
    try:
        store.reserve("a", limits, costs)
    except LimitExceeded as error:
        return math.inf if error.retry_after_seconds is None else error.retry_after_seconds
    return 0.0


# A burst

@pytest.mark.parametrize("start", [0.0, 123.456, 98_765.4321, 1e6 + 0.1, 3e7 + 1 / 3],
                         ids=lambda start: f"at {start:g}")
@pytest.mark.parametrize("period_seconds", [MINUTE, DAY], ids=["minute", "day"])
@pytest.mark.parametrize("amount", [1, 2, 3, 7, 10, 49, 60, 100, 600, 999, 12_345])
def test_a_burst_of_the_whole_amount_is_admitted(clock: Clock, start: float, period_seconds: float,
                                                 amount: int) -> None:
    clock.now = start
    store, limits = MemoryStore(clock), [queries(amount, period_seconds)]
    assert sum(is_admitted(store, limits, [1]) for _ in range(amount + 3)) == amount
    assert refusal(store, limits, [1]).retry_after_seconds == pytest.approx(
        period_seconds / amount, rel=1e-3, abs=SLACK * period_seconds)


@pytest.mark.parametrize("amount", [1, 7, 600])
def test_the_whole_amount_at_once_is_admitted(clock: Clock, amount: int) -> None:
    store, limits = MemoryStore(clock), [queries(amount)]
    store.reserve("a", limits, [amount])
    assert refusal(store, limits, [amount]).retry_after_seconds == pytest.approx(MINUTE)


@pytest.mark.parametrize("rows", [1, 3, 6])
def test_who_waits_as_told_is_admitted(clock: Clock, rows: int) -> None:
    store, limits = MemoryStore(clock), [queries(6)]
    store.reserve("a", limits, [6])
    for _ in range(20):
        wait = wait_of(store, limits, [rows])
        assert wait == pytest.approx(10.0 * rows)
        clock.now += 0.999 * wait
        assert not is_admitted(store, limits, [rows])
        clock.now += 0.001 * wait
        store.reserve("a", limits, [rows])


def test_it_refills_evenly(clock: Clock) -> None:
    store, limits = MemoryStore(clock), [queries(60)]
    store.reserve("a", limits, [60])
    for _ in range(200):
        clock.now += 1.0
        assert [is_admitted(store, limits, [1]) for _ in range(2)] == [True, False]


def test_no_more_than_a_burst_is_saved_up(clock: Clock) -> None:
    store, limits = MemoryStore(clock), [queries(5)]
    store.reserve("a", limits, [1])
    clock.now += 1e6
    assert sum(is_admitted(store, limits, [1]) for _ in range(9)) == 5


def test_rows_count_and_not_requests(clock: Clock) -> None:
    store, limits = MemoryStore(clock), [queries(10)]
    assert [is_admitted(store, limits, [rows]) for rows in (4, 4, 4, 2, 1)] == [True, True, False, True, False]


def test_accounts_are_apart(clock: Clock) -> None:
    store, limits = MemoryStore(clock), [queries(1)]
    assert [is_admitted(store, limits, [1], account) for account in "abab"] == [True, True, False, False]


def test_a_part_of_a_limit_is_a_limit(clock: Clock) -> None:
    store, limits = MemoryStore(clock), [queries(10 / 3)]
    assert sum(is_admitted(store, limits, [1]) for _ in range(9)) == 3


# Never more than the amount and what refilled, over any window

class Asked(NamedTuple):
    """A request some eighths of a second after the one before."""

    eighths: int
    rows: int


ASKED = st.builds(Asked, st.integers(0, 200), st.integers(0, 12))


@given(st.integers(1, 10), st.lists(ASKED, max_size=40))
def test_a_request_is_admitted_where_no_window_overflows(amount: int, requests: list[Asked]) -> None:
    """Against the law itself: every window that ends now holds at most the amount and what refilled in it."""
    now = [1000.0]
    store, limits = MemoryStore(lambda: now[0]), [queries(amount)]
    served: list[tuple[Fraction, int]] = []
    for asked in requests:
        now[0] += asked.eighths / 8
        time = Fraction(now[0])
        fits = asked.rows <= amount and all(
            sum(rows for then, rows in served if then >= start) + asked.rows
            <= amount + (time - start) * amount / 60 for start, _ in served)
        assert is_admitted(store, limits, [asked.rows]) == fits
        if fits:
            served.append((time, asked.rows))


@given(st.floats(0.3, 500.0), st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(0.0, 20.0)), max_size=40),
       st.floats(0.0, 1e9))
def test_no_window_overflows_with_any_numbers(amount: float, requests: list[tuple[float, float]],
                                              start: float) -> None:
    now = [start]
    store, limits = MemoryStore(lambda: now[0]), [queries(amount)]
    served: list[tuple[float, float]] = []
    for gap, cost in requests:
        now[0] += gap
        if is_admitted(store, limits, [cost]):
            served.append((now[0], cost))
            for then, _ in served:
                total = sum(taken for time, taken in served if time >= then)
                assert total <= (amount + (now[0] - then) * amount / MINUTE) * (1 + 1e-5) + 1e-5 * amount


# Several limits

BOTH = [queries(10), Limit("limit_leaked_bits_per_day", "bits", 64.0, DAY)]


def test_all_limits_are_taken_or_none(clock: Clock) -> None:
    store = MemoryStore(clock)
    store.reserve("a", BOTH, [1, 64.0])
    for _ in range(50):
        assert not is_admitted(store, BOTH, [5, 1.0])
    assert is_admitted(store, BOTH, [9, 0.0])
    assert not is_admitted(store, BOTH, [1, 0.0])


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 8), st.integers(0, 40)), max_size=40))
def test_two_limits_admit_what_both_would(requests: list[tuple[int, int, int]]) -> None:
    now = [1000.0]
    together, apart = (MemoryStore(lambda: now[0]) for _ in range(2))
    for eighths, *costs in requests:
        now[0] += eighths / 8
        fits = [is_admitted(apart, [limit], [cost], limit.name)
                for limit, cost in zip(BOTH, costs, strict=True)]
        if not all(fits):  # what only one of them took goes back
            for limit, cost, fit in zip(BOTH, costs, fits, strict=True):
                if fit:
                    apart.settle(limit.name, [limit], [-cost])
        assert is_admitted(together, BOTH, costs) == all(fits)


def test_the_limit_with_the_longest_wait_is_named(clock: Clock) -> None:
    limits = [queries(2), Limit("limit_queries_per_day", "queries", 2.0, DAY)]
    for order in (limits, limits[::-1]):
        store = MemoryStore(clock)
        store.reserve("a", order, [2, 2])
        error = refusal(store, order, [1, 1])
        assert (error.limit, error.quota, error.period_seconds) == ("limit_queries_per_day", 2.0, DAY)
        assert error.retry_after_seconds == pytest.approx(DAY / 2)


def test_no_limits_admit_everything(clock: Clock) -> None:
    store = MemoryStore(clock)
    assert all(is_admitted(store, [], []) for _ in range(100))


# What a refusal says

def test_a_refusal_says_limit_wait_and_remedy(clock: Clock) -> None:
    store, limits = MemoryStore(clock), [queries(4)]
    store.reserve("a", limits, [4])
    error = refusal(store, limits, [1])
    assert str(error) == ("over limit_queries_per_minute (4 queries); wait 15.0 seconds, or ask the API's owner "
                          "for more")
    assert (error.limit, error.quota, error.period_seconds) == ("limit_queries_per_minute", 4, MINUTE)


def test_what_can_never_pass_says_so(clock: Clock) -> None:
    store, limits = MemoryStore(clock), [queries(4)]
    for _ in range(3):
        error = refusal(store, limits, [5])
        assert error.retry_after_seconds is None
        assert str(error) == ("limit_queries_per_minute admits 4 queries at most and this request asks for 5; "
                              "send it in parts")
        clock.now += 1e6
    assert is_admitted(store, limits, [4])


def test_never_outlasts_any_wait(clock: Clock) -> None:
    limits = [queries(2), Limit("limit_leaked_bits_per_day", "bits", 8.0, DAY)]
    store = MemoryStore(clock)
    store.reserve("a", limits, [2, 0.0])
    error = refusal(store, limits, [1, 9.0])
    assert (error.limit, error.retry_after_seconds) == ("limit_leaked_bits_per_day", None)


# The true cost afterwards

def test_what_is_given_back_can_be_taken_again(clock: Clock) -> None:
    store, limits = MemoryStore(clock), [queries(10)]
    for _ in range(100):
        store.reserve("a", limits, [10])
        store.settle("a", limits, [-10])
    store.reserve("a", limits, [10])
    assert not is_admitted(store, limits, [1])


def test_giving_back_never_makes_more_than_a_burst(clock: Clock) -> None:
    store, limits = MemoryStore(clock), [queries(10)]
    store.reserve("a", limits, [10])
    clock.now += MINUTE
    store.settle("a", limits, [-10])
    assert sum(is_admitted(store, limits, [1]) for _ in range(30)) == 10


def test_what_is_taken_on_top_has_to_refill(clock: Clock) -> None:
    store, limits = MemoryStore(clock), [queries(10)]
    store.reserve("a", limits, [1])
    store.settle("a", limits, [29])  # never refuses, though it's more than the limit
    assert refusal(store, limits, [1]).retry_after_seconds == pytest.approx(6.0 * 21)
    clock.now += 6.0 * 21
    assert is_admitted(store, limits, [1])


def test_one_limit_goes_back_while_the_other_is_taken(clock: Clock) -> None:
    store = MemoryStore(clock)
    store.reserve("a", BOTH, [10, 0.0])
    store.settle("a", BOTH, [-10, 64.0])
    assert not is_admitted(store, BOTH, [1, 1.0])
    assert is_admitted(store, BOTH, [10, 0.0])


# Forgetting

class Event(NamedTuple):
    account: int
    seconds: float
    rows: int
    settled: int


EVENT = st.builds(Event, st.integers(0, 5), st.sampled_from([0.0, 1.0, 7.5, 60.0, 500.0]), st.integers(0, 6),
                  st.integers(-6, 6))


class Memory(MemoryStore):
    """A store that never forgets."""

    def _arrive(self, account: str, now: float) -> dict[str, float]:
        fresh = self._arrivals[account] = {}
        return fresh


@settings(max_examples=300)
@given(st.lists(EVENT, max_size=60))
def test_forgetting_loses_nothing(events: list[Event]) -> None:
    now = [1000.0]
    limits = [queries(6), Limit("limit_queries_per_day", "queries", 7.0, DAY / 100)]
    store, memory = MemoryStore(lambda: now[0]), Memory(lambda: now[0])
    under_way: list[tuple[str, list[int]]] = []
    for event in events:
        now[0] += event.seconds
        account, costs = str(event.account), [event.rows] * 2
        fits = is_admitted(store, limits, costs, account)
        assert fits == is_admitted(memory, limits, costs, account)
        if fits:
            under_way.append((account, [max(event.settled, -event.rows)] * 2))
        if len(under_way) > 2:  # other accounts come and go while a request is under way
            first, settled = under_way.pop(0)
            store.settle(first, limits, settled)
            memory.settle(first, limits, settled)
    assert len(store) <= len(memory)


def test_limits_may_change_while_accounts_are_known(clock: Clock) -> None:
    store, minute, day = MemoryStore(clock), queries(2), Limit("limit_queries_per_day", "queries", 3.0, DAY)
    assert is_admitted(store, [minute], [1])
    assert [is_admitted(store, [minute, day], [1, 1]) for _ in range(2)] == [True, False]
    assert is_admitted(store, [day], [2])
    store.settle("a", [day, minute], [0.0, -1.0])
    assert [is_admitted(store, limits, [1]) for limits in ([minute], [minute], [day])] == [True, False, False]


def test_memory_is_that_of_the_busy_accounts(clock: Clock) -> None:
    """A million accounts, each one second busy, a thousand a second."""
    store, limits = MemoryStore(clock), [queries(60)]
    longest = 0
    for number in range(1_000_000):
        clock.now += 1e-3
        store.reserve(f"{number:x}", limits, (1,))
        if number % 1000 == 0:
            longest = max(longest, len(store))
    assert longest <= 2 * 1000


def test_busy_accounts_do_not_keep_idle_ones(clock: Clock) -> None:
    """A thousand accounts a second, a tenth of them busy for a minute and the others for a second."""
    store, limits = MemoryStore(clock), [queries(60)]
    longest = 0
    for number in range(300_000):
        clock.now += 1e-3
        store.reserve(f"{number:x}", limits, (60 if number % 10 == 0 else 1,))
        longest = max(longest, len(store))
    assert longest <= 2 * (100 * 60 + 900)


def test_an_account_that_owes_is_never_forgotten(clock: Clock) -> None:
    store, limits = MemoryStore(clock), [queries(1, DAY)]
    store.reserve("owes", limits, [1])
    for number in range(10_000):
        clock.now += 1.0
        store.reserve(str(number), [queries(60)], [1])
    assert not is_admitted(store, limits, [1], "owes")


# Against another implementation

@pytest.mark.parametrize("amount", [1, 2, 5, 12, 30])
def test_decisions_are_those_of_throttled(amount: int) -> None:
    """throttled-py has no clock to hand in, so its stored time is moved into the past instead."""
    backend = throttled_store.MemoryStore()
    throttle = Throttled(using=RateLimiterType.GCRA.value, quota=rate_limiter.per_min(amount, burst=amount),
                         store=backend)
    skipped = [0.0]
    store, limits = MemoryStore(lambda: utils.now_mono_f() + skipped[0]), [queries(amount)]
    rng = generator(amount, "throttled")
    n_limited = 0
    for _ in range(500):
        rows = int(rng.integers(1, amount + 1)) if rng.random() < 0.3 else 1
        # On a grid, so that a request is never so near the edge that the microseconds in between decide.
        seconds = int(rng.integers(0, 5)) * 15.0 / amount
        skipped[0] += seconds
        stored: dict[Any, Any] = backend._backend.get_client()
        for key in stored:
            stored[key] -= seconds
        wait = wait_of(store, limits, [rows])
        theirs = throttle.limit("a", cost=rows)
        assert theirs.limited == (wait > 0.0)
        assert theirs.state.retry_after == pytest.approx(wait, abs=0.2)  # the test may be kept waiting in between
        n_limited += theirs.limited
    assert 50 < n_limited < 450

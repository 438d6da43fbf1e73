"""How far money, accounts and patience go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.audit.curve import Point
from counterclone.budgets import DAY, Limit
from counterclone.tune.economics import efforts, reached


def point(attack: str, queries: int, fidelity: float, usd: float = 0.0) -> Point:
    return Point(attack=attack, surface="as it is", budget=queries, queries=queries, usd=usd, fidelity=fidelity,
                 low=fidelity, high=fidelity, balanced=fidelity, n_seeds=1)


LINES = [point("one", 10, 0.5), point("one", 1000, 0.9), point("other", 100, 0.8), point("other", 1000, 0.75)]


def test_between_budgets_it_goes_by_the_logarithm() -> None:
    assert reached(LINES[:2], 100).fidelity == pytest.approx(0.7)


def test_the_best_attack_counts_and_a_copier_may_stop_before() -> None:
    assert reached(LINES, 100) == (0.8, "", "other")
    assert reached(LINES[2:], 1000) == (0.8, "", "other")


def test_beyond_what_was_tried_there_are_bounds_only() -> None:
    assert reached(LINES, 5) == (0.8, "at most", "other")
    assert reached(LINES, 5000) == (0.9, "at least", "one")


@given(st.floats(1, 5000), st.floats(1, 5000))
def test_more_queries_never_make_a_worse_copy(one: float, other: float) -> None:
    fewer, more = sorted([one, other])
    if reached(LINES, fewer).bound != "at most":
        assert reached(LINES, fewer).fidelity <= reached(LINES, more).fidelity + 1e-12


def test_the_scarcest_of_money_accounts_and_days_binds() -> None:
    line = [point("one", 10, 0.5, usd=0.1), point("one", 1000, 0.9, usd=10.0)]
    limit = Limit("limit_queries_per_day", "queries", 50, DAY)
    cells = {(cell.usd, cell.accounts, cell.days): cell for cell in efforts(line, [limit])}
    assert {usd for usd, _, _ in cells} == {0.1, 1.0, 10.0}
    assert cells[0.1, 100, 30.0].queries == 10  # money
    assert cells[10.0, 1, 1.0].queries == 100  # a burst of 50, and 50 in a day
    assert cells[10.0, 1, 1.0].fidelity == pytest.approx(0.7)
    assert cells[10.0, 10, 30.0].queries == 1000  # money again


def test_who_pays_nothing_and_has_no_limit_asks_what_it_likes() -> None:
    cells = efforts(LINES, [])
    assert {cell.usd for cell in cells} == {None}
    assert {cell.queries for cell in cells} == {None}
    assert {(cell.fidelity, cell.bound) for cell in cells} == {(0.9, "at least")}

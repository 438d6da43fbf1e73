from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.audit.curve import LEVELS, Point, Reach, cheapest, points
from counterclone.audit.trial import Trial
from counterclone.budgets import DAY, MINUTE, Limit

TRIAL = Trial(
    attack="a", surface="full", queries=100, queries_sent=100, calls=1, repeats=0, seed=0, fidelity=0.5,
    fidelity_low=0.4, fidelity_high=0.6, fidelity_balanced=0.5, fidelity_uniform=None, accuracy=None, kl=0.1,
    worst_gap=0.5, coverage=0.1, parameters=None, pool="own", usd=0.1, seconds=1.0)


def trial(**changes: Any) -> Trial:
    return msgspec.structs.replace(TRIAL, **changes)


def line(*fidelities: float, attack: str = "a", surface: str = "full", price: float = 0.001) -> list[Point]:
    """A point at 10, 100, 1000, ... queries."""
    return [Point(attack=attack, surface=surface, budget=10**n, queries=10.0**n, usd=10**n * price,
                  fidelity=fidelity, low=fidelity, high=fidelity, balanced=fidelity - 0.3, n_seeds=3)
            for n, fidelity in enumerate(fidelities, start=1)]


def reaches(found: list[Point], limits: Any = (), surfaces: Any = ("full",)) -> list[Reach]:
    return cheapest(found, surfaces, limits, lambda surface: 8.0, majority=0.3)


def test_seeds_become_one_point() -> None:
    found = points([
        trial(seed=0, fidelity=0.5), trial(seed=1, fidelity=0.9, queries_sent=50, usd=0.05), trial(queries=10),
        trial(attack="b"), trial(surface="labels")])
    assert [(point.surface, point.attack, point.budget, point.n_seeds) for point in found] == [
        ("full", "a", 10, 1), ("full", "a", 100, 2), ("full", "b", 100, 1), ("labels", "a", 100, 1)]
    both = found[1]
    assert (both.fidelity, both.low, both.high, both.queries) == (0.7, 0.5, 0.9, 75.0)
    assert both.usd == pytest.approx(0.075)


def test_levels_between_two_budgets_are_interpolated() -> None:
    found = {reach.fidelity: reach for reach in reaches(line(0.4, 0.8, 1.0))}
    assert list(found) == list(LEVELS)
    assert found[0.5].queries == math.ceil(10 ** 1.25)
    assert found[0.9].queries == math.ceil(10 ** 2.5)
    assert found[0.9].usd == pytest.approx(0.001 * 10 ** 2.5)
    assert not found[0.9].is_bound


def test_where_a_constant_agrees_as_often_balanced_agreement_counts() -> None:
    """Of a model with one class in 92 % of its answers, 90 % are no copy."""
    found = cheapest(line(0.94, 1.0, 1.3), ["full"], [], lambda surface: 8.0, majority=0.92)
    assert {reach.fidelity: (reach.is_balanced, reach.queries) for reach in found} == {
        0.5: (True, 10), 0.9: (True, math.ceil(10 ** (2 + 2 / 3))), 0.95: (False, math.ceil(10 ** (1 + 1 / 6))),
        0.99: (False, math.ceil(10 ** (1 + 5 / 6)))}


def test_nothing_is_told_beyond_what_was_measured() -> None:
    first, = [reach for reach in reaches(line(0.93, 0.94)) if reach.fidelity == 0.9]
    assert (first.queries, first.is_bound) == (10, True)
    assert [reach.fidelity for reach in reaches(line(0.93, 0.94))] == [0.5, 0.9]
    assert reaches(line(0.1, 0.49)) == []
    assert reaches([]) == []


def test_the_first_time_that_a_level_is_reached_counts() -> None:
    found = {reach.fidelity: reach.queries for reach in reaches(line(0.4, 0.95, 0.3, 0.99))}
    assert found[0.95] == 100
    assert found[0.99] == 10_000


def test_the_cheapest_attack_is_told() -> None:
    found = reaches([*line(0.4, 0.95, attack="a", price=0.0015), *line(0.1, 0.1, 0.95, attack="b", price=0.0001)])
    assert {reach.fidelity: reach.attack for reach in found} == {0.5: "a", 0.9: "b", 0.95: "b"}


def test_of_equally_cheap_attacks_the_nearest_is_told() -> None:
    found = reaches([*line(0.91, attack="a"), *line(0.98, attack="b"), *line(0.97, attack="c")])
    assert {reach.attack for reach in found} == {"b"}


def test_an_attack_that_stops_early_costs_what_it_asked() -> None:
    early = [msgspec.structs.replace(point, queries=7.0, usd=0.007) for point in line(0.4, 1.0)]
    assert {(reach.queries, reach.usd) for reach in reaches(early)} == {(7, 0.007)}


def test_surfaces_are_told_in_their_order() -> None:
    found = reaches([*line(0.6), *line(0.6, surface="labels")], surfaces=("labels", "full"))
    assert [reach.surface for reach in found] == ["labels", "full"]


@pytest.mark.parametrize(("limits", "days", "accounts"), [
    ([], None, None),
    ([Limit("a", "queries", 100, MINUTE)], 9 / 1440, 1),
    ([Limit("a", "queries", 100, DAY)], 9.0, 5),
    ([Limit("a", "queries", 100, MINUTE), Limit("b", "queries", 50, DAY)], 19.0, 10),
    ([Limit("a", "bits", 400, DAY)], 19.0, 10),
    ([Limit("a", "queries", 2000, DAY)], 0.0, 1),
], ids=["none", "a minute", "a day", "both", "bits", "wide"])
def test_limits_make_it_take_time_or_accounts(limits: Any, days: float | None, accounts: int | None) -> None:
    reach, = reaches(line(0.1, 0.2, 0.5), limits)
    assert reach.queries == 1000
    if days is None:
        assert (reach.days, reach.accounts) == (None, None)
    else:
        assert reach.days is not None
        assert max(reach.days, 0.0) == pytest.approx(days)
        assert reach.accounts == accounts


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_a_level_costs_what_a_budget_that_reached_it_did_at_most(fidelities: list[float]) -> None:
    for reach in reaches(line(*fidelities)):
        first = next(n for n, fidelity in enumerate(fidelities, start=1) if fidelity >= reach.fidelity)
        assert 10 ** max(first - 1, 1) <= reach.queries <= 10**first
        assert reach.usd == pytest.approx(reach.queries * 0.001, abs=0.001)

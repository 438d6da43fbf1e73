"""Which settings are judged, and which is chosen."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.audit import Utility
from counterclone.tune import Limits, Point
from counterclone.tune.choice import MOST_JUDGED, choose, frontier, is_within

LIMITS = Limits()


def point(name: str, fidelity: float = 0.9, *, loss: float = 0.0, calibration: float | None = 0.0,
          queries: int | None = 1000) -> Point:
    lost = Utility(label_changed=loss, label_changed_high=loss, accuracy_loss=loss, brier_increase=None,
                   inputs=500, calibration_error_increase=calibration, l1=0.1)
    return Point(name=name, settings=({"kind": name},), accuracy_loss=loss, calibration_error_increase=calibration,
                 fidelity=fidelity, fidelity_low=fidelity, fidelity_high=fidelity, attack="knockoff",
                 queries_to_90=queries, usd_to_90=None, is_bound=False, is_judged=True, utility=lost)


def test_the_setting_that_a_copy_costs_most_through_is_chosen() -> None:
    points = [point("cheap", queries=100), point("dear", queries=900), point("too dear", loss=0.01, queries=None)]
    assert choose(points, LIMITS, 500).point == points[1]
    never = point("never", 0.7, queries=None)
    assert choose([*points, never], LIMITS, 500).point == never
    assert "no attack copied 90 %" in choose([*points, never], LIMITS, 500).reason


def test_of_equals_honest_users_lose_least() -> None:
    points = [point("worse", calibration=0.015), point("better", calibration=0.001)]
    assert choose(points, LIMITS, 500).point == points[1]


def test_what_nothing_satisfies_names_the_limit_and_the_nearest() -> None:
    points = [point("far", calibration=0.3), point("near", calibration=0.05), point("wrong", loss=0.2)]
    found = choose(points, LIMITS, 500)
    assert found.point is None
    assert "calibration_error_increase_max binds" in found.reason
    assert "'near'" in found.reason
    assert "accuracy_loss_max binds" in choose([points[2]], LIMITS, 500).reason


def test_twenty_inputs_choose_nothing() -> None:
    found = choose([point("one")], LIMITS, 20)
    assert found.point is None
    assert "20 inputs can't tell" in found.reason


def test_without_true_labels_calibration_doesnt_count() -> None:
    assert is_within(point("one", calibration=None), LIMITS)


POINTS = st.lists(st.builds(point, st.uuids().map(str), st.floats(0, 1), loss=st.sampled_from([0.0, 0.01]),
                            calibration=st.floats(0, 0.05)), min_size=1, max_size=20)


@given(POINTS)
def test_few_are_judged_and_what_can_be_chosen_comes_first(points: list[Point]) -> None:
    ceiling = msgspec.structs.replace(point("as it is"), name="as it is")
    found = frontier([*points, ceiling], LIMITS)
    assert ceiling in found
    assert len(found) == min(MOST_JUDGED, len(points) + 1)
    left_out = [each for each in points if each not in found]
    if any(is_within(each, LIMITS) for each in left_out):
        assert all(is_within(each, LIMITS) for each in found)


@given(POINTS)
def test_a_chosen_setting_is_within_the_limits(points: list[Point]) -> None:
    chosen = choose(points, LIMITS, 500).point
    assert chosen is None or is_within(chosen, LIMITS)
    assert (chosen is None) == (not any(is_within(each, LIMITS) for each in points))


def test_the_owners_own_is_always_judged() -> None:
    points = [point(str(n), 0.5 + n / 100) for n in range(20)]
    assert points[-1] in frontier(points, LIMITS, [points[-1].name])
    with pytest.raises(ValueError, match="min"):
        choose([], LIMITS, 500)

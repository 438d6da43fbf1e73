from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.statistics import proportion, slope


@pytest.mark.parametrize(("hits", "trials", "low", "high"), [
    (81, 263, 0.2553, 0.3662),  # these four: Newcombe 1998, table I, method 3
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
    (0, 10, 0.0, 0.2775),
    (10, 10, 0.7225, 1.0),
], ids=["81/263", "15/148", "0/20", "1/29", "0/10", "10/10"])
def test_a_share_has_the_published_interval(hits: int, trials: int, low: float, high: float) -> None:
    interval = proportion(hits, trials)
    assert interval.value == hits / trials
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_value_and_mirrors(share: tuple[int, int]) -> None:
    hits, trials = share
    interval, mirrored = proportion(hits, trials), proportion(trials - hits, trials)
    assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0
    assert interval.low == pytest.approx(1.0 - mirrored.high, abs=1e-12)


def test_more_confidence_is_wider() -> None:
    assert proportion(3, 10, 0.99).low < proportion(3, 10, 0.9).low


@pytest.mark.parametrize(("hits", "trials"), [(0, 0), (-1, 3), (4, 3), (0, -1)],
                         ids=["no trials", "negative", "more hits", "negative trials"])
def test_an_impossible_share_is_an_error(hits: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"got {hits} of {trials}"):
        proportion(hits, trials)


def test_a_slope_is_the_one_computed_by_hand() -> None:
    # Sxx = 10, Sxy = 6, slope 0.6; residuals -0.8, 0.6, 1, -0.6, -0.2, their squares sum to 2.4, so
    # the error is sqrt(2.4 / 3 / 10) = 0.282843; t(0.975, 3) = 3.182446.
    found = slope(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([2.0, 4.0, 5.0, 4.0, 5.0]))
    assert found.value == pytest.approx(0.6)
    assert found.low == pytest.approx(0.6 - 3.182446 * 0.282843, abs=1e-5)
    assert found.high == pytest.approx(0.6 + 3.182446 * 0.282843, abs=1e-5)


def test_a_line_has_a_slope_without_error() -> None:
    x = np.arange(10.0)
    found = slope(x, 3.0 * x + 1.0)
    assert found == pytest.approx((3.0, 3.0, 3.0))


def test_two_points_have_no_interval() -> None:
    with pytest.raises(ValueError, match="needs 3 points, got 2"):
        slope(np.array([1.0, 2.0]), np.array([1.0, 2.0]))

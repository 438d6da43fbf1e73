from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from counterclone import statistics
from counterclone.randomness import generator
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


# Tests of marks

RATES = [Fraction(1, 2), Fraction(1, 7), Fraction(1, 999)]


def chance(hits: int, trials: int, rate: Fraction) -> Fraction:
    return math.comb(trials, hits) * rate**hits * (1 - rate) ** (trials - hits)


@given(st.integers(0, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from(RATES))
def test_a_binomial_tail_is_exact(seen: tuple[int, int], rate: Fraction) -> None:
    hits, trials = seen
    exact = sum(chance(each, trials, rate) for each in range(hits, trials + 1))
    tail = statistics.binomial_tail(hits, trials, float(rate))
    assert tail == pytest.approx(float(exact), rel=1e-9)
    assert statistics.binomial_tails(np.array([hits]), np.array([trials]), float(rate))[0] == tail


@given(st.integers(0, 12), st.integers(0, 12), st.data())
def test_a_hypergeometric_tail_is_exact(marked: int, controls: int, data: st.DataObject) -> None:
    differing = data.draw(st.integers(0, marked + controls))
    hits = data.draw(st.integers(0, min(marked, differing)))
    ways = sum(math.comb(marked, each) * math.comb(controls, differing - each)
               for each in range(hits, min(marked, differing) + 1))
    assert statistics.hypergeometric_tail(hits, marked, controls, differing) == pytest.approx(
        ways / math.comb(marked + controls, differing), rel=1e-9)


@pytest.mark.parametrize("arguments", [(5, 4, 4, 8), (-1, 4, 4, 4), (0, 4, 4, 9)])
def test_impossible_rows_are_an_error(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="can't be marked"):
        statistics.hypergeometric_tail(*arguments)


@pytest.mark.parametrize("arguments", [(5, 4, 0.5), (-1, 4, 0.5), (1, 4, 1.5)])
def test_an_impossible_tail_is_an_error(arguments: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="a tail needs"):
        statistics.binomial_tail(*arguments)


@given(st.integers(0, 30), st.sampled_from(RATES))
def test_an_e_value_has_mean_one_under_independence(trials: int, rate: Fraction) -> None:
    mean = sum(float(chance(hits, trials, rate)) * statistics.e_value(hits, trials, float(rate))
               for hits in range(trials + 1))
    assert mean == pytest.approx(1.0, rel=1e-6)


def test_an_e_value_grows_with_each_match_and_falls_with_each_miss() -> None:
    for hits in range(1, 20):
        assert statistics.e_value(hits, 20, 0.1) > statistics.e_value(hits - 1, 20, 0.1)
        assert statistics.e_value(hits, 20, 0.1) > statistics.e_value(hits, 21, 0.1)
    assert math.isfinite(statistics.e_value(10_000, 10_000, 1e-3))
    assert statistics.e_values(np.array([3, 0]), np.array([3, 0]), 0.1).tolist() == [
        statistics.e_value(3, 3, 0.1), 1.0]


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_an_e_value_needs_a_chance(rate: float) -> None:
    with pytest.raises(ValueError, match="null rate"):
        statistics.e_value(1, 2, rate)


def test_holms_published_example() -> None:
    # by hand: 4 x .005, 3 x .01, max(2 x .03, 1 x .04)
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_lies_between_the_raw_and_the_bonferroni_ones(p_values: list[float]) -> None:
    adjusted = statistics.holm(p_values)
    raw = np.array(p_values)
    assert (adjusted >= raw).all()
    assert (adjusted <= np.minimum(raw * len(raw), 1.0) + 1e-12).all()
    assert (np.diff(adjusted[raw.argsort(kind="stable")]) >= 0).all()


def test_a_rank_is_never_below_one_of_all() -> None:
    others = np.arange(99.0)
    assert statistics.rank_p_value(1000.0, others) == 0.01
    assert statistics.rank_p_value(-1.0, others) == 1.0
    assert statistics.rank_p_value(98.0, others) == 0.02


def test_power_is_the_chance_to_reach_the_level() -> None:
    assert statistics.power(0, 0.5, 0.1, 1e-6) == 0.0
    assert statistics.power(5, 0.9, 0.1, 1e-6) == 0.0  # 5 of 5 have a chance of 1e-5
    assert statistics.power(6, 0.9, 0.1, 1.1e-6) == pytest.approx(0.9**6)
    assert statistics.power(100, 0.1, 0.1, 0.05) <= 0.05


# Weighted sums of bits

Numbers = NDArray[np.float64]
weighing = st.lists(st.integers(-50, 50), min_size=1, max_size=9).map(lambda found: np.array(found) / 10)


def sums(weights: Numbers, rate: float) -> tuple[Numbers, Numbers]:
    """Every sum that can be, and its chance."""
    bits = (np.arange(2 ** len(weights))[:, None] >> np.arange(len(weights))) & 1
    return (bits - rate) @ weights, np.prod(np.where(bits, rate, 1.0 - rate), axis=1)


@given(weighing, st.floats(0.02, 0.98))
def test_the_bound_of_a_weighted_sum_is_never_below_its_chance(weights: Numbers, rate: float) -> None:
    totals, chances = sums(weights, rate)
    for total in totals[:: max(len(totals) // 16, 1)]:
        exact = chances[totals >= total - 1e-9].sum()
        bound = statistics.weighted_tail(float(total), weights, rate)
        assert 0.0 <= bound <= 1.0
        assert bound >= exact * (1.0 - 1e-6)


@pytest.mark.parametrize(("hits", "trials", "times"), [
    (70, 100, 3.5), (1_090, 2_000, 1.6), (50_900, 100_000, 1.2)])
def test_the_bound_of_a_weighted_sum_is_close_for_equal_weights(hits: int, trials: int, times: float) -> None:
    share = hits / trials
    divergence = share * math.log(share / 0.5) + (1.0 - share) * math.log((1.0 - share) / 0.5)
    exact = statistics.binomial_tail(hits, trials, 0.5)
    bound = statistics.weighted_tail(hits - 0.5 * trials, np.ones(trials), 0.5)
    assert exact < bound < min(times * exact, math.exp(-trials * divergence))


def test_a_few_weights_that_carry_the_sum_are_bounded_by_chernoff() -> None:
    bound = statistics.weighted_tail(4.0, np.ones(8), 0.5)
    assert bound == pytest.approx(2.0**-8, rel=0.01)
    assert statistics.weighted_tail(4.5, np.ones(8), 0.5) < 1e-3  # beyond what can be
    assert statistics.weighted_tail(-1.0, np.ones(8), 0.5) == 1.0
    assert statistics.weighted_tail(0.0, np.empty(0), 0.5) == 1.0
    few = np.array([-0.47824143, 0.47036004, 0.61634186, 0.73495125])
    assert statistics.weighted_tail(float(few.sum()), few, 0.5) <= 1.0  # tilted so far that nothing varies


@pytest.mark.parametrize("rate", [0.5, 0.2])
def test_the_bound_is_close_for_weights_that_differ(rate: float) -> None:
    """A thousand of one and of minus one each, and five hundred of three, convolved."""
    ones, threes = (stats.binom.pmf(np.arange(n + 1), n, rate) for n in (1_000, 500))
    spaced = np.zeros(1_501)
    spaced[::3] = threes
    chances = np.convolve(np.convolve(ones, ones[::-1]), spaced)
    sums = np.arange(len(chances)) - 1_000.0 - 1_500.0 * rate
    weights = np.repeat([1.0, -1.0, 3.0], [1_000, 1_000, 500])
    for deviations in (1.0, 3.0, 5.0, 8.0):
        place = int(np.searchsorted(sums, deviations * np.sqrt(rate * (1.0 - rate) * (weights @ weights))))
        exact = chances[place:].sum()
        assert exact < statistics.weighted_tail(float(sums[place]), weights, rate) < 3.0 * exact


def test_the_bound_stays_one_far_out_in_the_tail() -> None:
    spread = generator(0, "weights").exponential(size=5_000) ** 3
    totals = np.linspace(0.0, 0.5 * spread.sum(), 40)
    bounds = [statistics.weighted_tail(float(total), spread, 0.5) for total in totals]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[-1] < 1e-300


@given(weighing, st.floats(0.02, 0.98))
def test_the_e_value_of_a_weighted_sum_has_mean_one(weights: Numbers, rate: float) -> None:
    totals, chances = sums(weights, rate)
    values = np.array([statistics.weighted_e_value(float(total), weights, rate) for total in totals])
    if values.max() < np.exp(600):
        assert float(chances @ values) == pytest.approx(1.0, rel=1e-6)
    assert statistics.weighted_e_value(0.0, np.zeros(3), rate) == 1.0

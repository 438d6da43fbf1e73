from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from counterclone.answers import FEW, Rows, top_labels
from counterclone.policies.rounding import LEAST_EXPONENT, Rounding, apportioned
from counterclone.testing import check_policy, example_rows, release

WEIGHTS = st.tuples(st.integers(1, 4), st.integers(1, 12)).flatmap(
    lambda shape: arrays.arrays(np.float64, shape, elements=st.floats(1e-3, 1.0) | st.just(1.0)))


@pytest.mark.parametrize("decimals", [1, 2, 6, 12])
def test_laws_of_decimals(decimals: int) -> None:
    check_policy(Rounding(decimals=decimals))


@pytest.mark.parametrize("bits", [1, 4, 24])
def test_laws_of_significant_bits(bits: int) -> None:
    check_policy(Rounding(significant_bits=bits))


@pytest.mark.parametrize("options", [{}, {"decimals": 2, "significant_bits": 4}], ids=["neither", "both"])
def test_one_way_must_be_chosen(options: dict[str, int]) -> None:
    with pytest.raises(msgspec.ValidationError, match="set either `decimals` or `significant_bits`"):
        msgspec.convert(options, Rounding)


# decimals: Hamilton's method

def demand_apportioned(rows: Rows, n_units: int) -> None:
    released = apportioned(rows, n_units)
    units = np.rint(released * n_units)
    np.testing.assert_array_equal(released, units / n_units)
    np.testing.assert_array_equal(units.sum(axis=1), n_units)
    off = units - rows * n_units
    label = np.arange(rows.shape[1]) == top_labels(rows)[:, None]
    assert np.abs(off[~label]).max(initial=0.0) <= 1.0 + 1e-3
    assert off[label].max() < 2.0
    assert off[label].min() > -1.0


@given(WEIGHTS, st.integers(1, 6))
def test_units_add_up_and_are_near_the_true_shares(weights: Rows, decimals: int) -> None:
    demand_apportioned(weights / weights.sum(axis=1, keepdims=True), 10**decimals)


@pytest.mark.parametrize("n_classes", [2, 3, 4, 11, 214, 1000])
@pytest.mark.parametrize("decimals", [1, 2, 12])
def test_units_add_up_with_more_classes_than_units_too(n_classes: int, decimals: int) -> None:
    demand_apportioned(example_rows(300, n_classes), 10**decimals)


@given(WEIGHTS, st.integers(1, 3))
def test_only_a_label_that_would_be_tied_gets_a_second_unit(weights: Rows, decimals: int) -> None:
    rows, n_units = weights / weights.sum(axis=1, keepdims=True), 10**decimals
    units, shares = np.rint(apportioned(rows, n_units) * n_units), rows * n_units
    each, top = np.arange(len(rows)), top_labels(rows)
    for i in np.flatnonzero(units[each, top] - shares[each, top] > 1.0 + 1e-6):
        ahead = np.floor(shares[i, :top[i]]) == np.floor(shares[i, top[i]])
        room = len(shares[i]) - ahead.sum()  # for units that leave the label the largest
        assert n_units - np.floor(shares[i]).sum() > room


@pytest.mark.parametrize(("shares", "units"), [
    ([7, 2, 1], [7, 2, 1]),
    ([3.3, 3.3, 3.4], [3, 3, 4]),
    ([3.7, 3.8, 2.5], [3, 4, 3]),  # a unit for the first would make it the label
    ([2.6, 2.7, 2.35, 2.35], [2, 3, 3, 2]),
    ([2.9, 2.9, 2.95, 1.25], [2, 2, 4, 2]),  # no way round the label's second unit
    ([2.9, 7.1], [3, 7]),
    ([3.9, 4.05, 2.05], [3, 5, 2]),  # the unit that would tie the first with the label is the label's
    ([0.2] * 20 + [6.0], [1] * 4 + [0] * 16 + [6]),
    ([0.25] * 40, [1] * 10 + [0] * 30),
], ids=["exact", "to the label", "not ahead of the label", "to a later one", "second unit", "nearest", "tie",
        "dust", "flat"])
def test_apportionments_by_hand(shares: list[float], units: list[int]) -> None:
    released = apportioned(np.array([shares]) / sum(shares), 10)
    np.testing.assert_array_equal(np.rint(10 * released[0]), units)


TIED = st.tuples(st.integers(1, 4), st.integers(1, 12)).flatmap(
    lambda shape: arrays.arrays(np.float64, shape, elements=st.sampled_from([-0.0, 0.0, 1.0, 2.0, 2.5, 3.0])))


@given(WEIGHTS | TIED.filter(lambda weights: weights.sum(axis=1).all()), st.integers(1, 12))
def test_few_numbers_are_rounded_as_many_are_to_the_bit(weights: Rows, decimals: int) -> None:
    rows = weights / weights.sum(axis=1, keepdims=True)
    assert rows.size <= FEW
    many = apportioned(np.tile(rows, (FEW // rows.size + 1, 1)), 10**decimals)
    assert apportioned(rows, 10**decimals).tobytes() == many[:len(rows)].tobytes()


@pytest.mark.parametrize("decimals", [1, 2, 6, 12])
def test_rounding_again_changes_nothing(decimals: int) -> None:
    rounded = release(Rounding(decimals=decimals), example_rows(600, 10))
    np.testing.assert_array_equal(release(Rounding(decimals=decimals), rounded), rounded)
    assert release(Rounding(decimals=2), np.array([[0.29, 0.71]])).tolist() == [[0.29, 0.71]]  # 28.999...


@pytest.mark.parametrize(("decimals", "n_classes", "n_rows"), [(1, 2, 11), (1, 3, 66), (2, 2, 101)])
def test_bits_of_decimals_count_the_grid(decimals: int, n_classes: int, n_rows: int) -> None:
    assert Rounding(decimals=decimals).bits(n_classes) == pytest.approx(math.log2(n_rows))


# significant_bits

@pytest.mark.parametrize("n_bits", [1, 2, 4, 8])
@pytest.mark.parametrize("n_classes", [2, 3, 10, 214])
def test_every_value_but_the_largest_has_so_many_bits(n_bits: int, n_classes: int) -> None:
    rows = example_rows(600, n_classes)
    released = release(Rounding(significant_bits=n_bits), rows)
    mantissas = np.frexp(released)[0] * 2.0**n_bits
    is_short = mantissas == np.rint(mantissas)
    is_short[np.arange(600), top_labels(rows)] = True
    assert is_short.all()


@pytest.mark.parametrize("n_bits", [1, 4, 24])
def test_small_probabilities_keep_their_size(n_bits: int) -> None:
    rows = np.array([[0.7, 0.2999, 1e-4, 2e-7], [0.6, 0.4 - 3e-8, 2e-8, 1e-8]])
    rows /= rows.sum(axis=1, keepdims=True)
    released = release(Rounding(significant_bits=n_bits), rows)
    np.testing.assert_allclose(released[:, 1:], rows[:, 1:], rtol=2.0**-n_bits)
    assert released.sum(axis=1).tolist() == [1.0, 1.0]


def test_dust_is_zero() -> None:
    dust = 0.9 * 2.0**-LEAST_EXPONENT
    assert release(Rounding(significant_bits=8), np.array([[1.0 - dust, dust]])).tolist() == [[1.0, 0.0]]


def test_the_label_is_kept_where_rounding_up_would_pass_it() -> None:
    rows = np.array([[0.26, 0.37, 0.37 - 1e-9, 1e-9]])
    released = release(Rounding(significant_bits=1), rows)
    assert released.tolist() == [[0.25, 0.5 - 2.0**-30, 0.25, 2.0**-30]]

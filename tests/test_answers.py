from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from counterclone.answers import (
    Context,
    PerRow,
    Rows,
    find_outputs,
    full_bits,
    is_finite,
    keep_top,
    largest,
    log2_choose,
    margins,
    normalised,
    top_labels,
)
from counterclone.errors import AnswerError
from counterclone.queries import Query
from counterclone.randomness import Prf

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 8))
NUMBERS = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0.0, 1.0)
"""Many ties among them."""
ROWS = SHAPES.flatmap(lambda shape: arrays.arrays(np.float64, shape, elements=NUMBERS))
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(*[arrays.arrays(np.float64, shape, elements=NUMBERS)] * 2))


def context(query: Query, rows_per_query: int = 1) -> Context:
    return Context(Prf.from_secret("test"), query, rows_per_query)


# normalised

def test_rows_are_scaled_to_sum_one() -> None:
    np.testing.assert_allclose(normalised(np.array([[0.5, 0.5005]]), "p").sum(), 1.0, atol=1e-15)
    assert normalised(np.empty((0, 3)), "p").shape == (0, 3)


@pytest.mark.parametrize(("rows", "message"), [
    (np.empty((2, 0)), r"output 'p' has no classes \(shape \(2, 0\)\); expected rows of probabilities"),
    (np.array([1.0]), r"output 'p' has no classes \(shape \(1,\)\); expected"),
    (np.array([[np.nan, 1.0]]), "output 'p' holds numbers that aren't finite; expected probabilities; look"),
    (np.array([[np.inf, -np.inf]]), "aren't finite"),
    (np.array([[-0.1, 1.1]]), "output 'p' holds negative numbers; expected probabilities; apply the softmax"),
    (np.array([[0.5, 0.5], [0.5, 0.4]]), "output 'p' has a row that sums to 0.9; expected 1 within 0.001; norm"),
    (np.array([[0.0, 0.0]]), "sums to 0; expected 1"),
    (np.array([[1e308, 1e308]]), "sums to inf; expected 1"),
], ids=["no classes", "one axis", "nan", "infinities", "negative", "sum", "zeros", "overflow"])
def test_what_is_no_probability_is_an_error(rows: Rows, message: str) -> None:
    with pytest.raises(AnswerError, match=message):
        normalised(rows, "p")


def test_the_tolerance_is_the_callers() -> None:
    assert normalised(np.array([[0.5, 0.46]]), "p", 0.05).sum() == pytest.approx(1.0)


@pytest.mark.parametrize(("rows", "expected"), [
    (np.array([[0.2, 0.8]]), True),
    (np.array([[0.2, 0.8005]]), True),
    (np.array([[0.2, 0.9]]), False),
    (np.array([[-0.2, 1.2]]), False),
    (np.array([[np.nan, 1.0]]), False),
    (np.array([[np.inf, 1.0]]), False),
    (np.array([[1e308, 1e308]]), False),
    (np.array([1.0]), False),
    (np.empty((0, 2)), False),
], ids=["yes", "nearly", "sum", "negative", "nan", "infinite", "overflow", "one axis", "none"])
def test_probabilities_are_found(rows: Rows, expected: bool) -> None:
    assert bool(find_outputs({"p": rows}, 1, "")) is expected


@pytest.mark.parametrize(("number", "expected"), [(1.0, True), (1e308, True), (np.nan, False), (np.inf, False)])
def test_finite_is_told_even_where_sums_overflow(number: float, expected: bool) -> None:
    assert is_finite(np.full((3, 3), number)) is expected
    assert is_finite(np.array([[number, -number]])) is expected


# The label that is served

@given(PAIRS)
def test_keep_top_serves_the_label_with_the_same_values(pair: tuple[Rows, Rows]) -> None:
    rows, given_rows = pair
    released = keep_top(given_rows.copy(), rows)
    np.testing.assert_array_equal(top_labels(released), top_labels(rows))
    np.testing.assert_allclose(np.sort(released, axis=1), np.sort(given_rows, axis=1), rtol=1e-15, atol=1e-300)


def test_keep_top_leaves_right_rows_alone() -> None:
    rows = np.array([[0.3, 0.7], [0.5, 0.5]])
    released = np.array([[0.4, 0.6], [0.5, 0.5]])
    assert keep_top(released, rows) is released
    np.testing.assert_array_equal(released, [[0.4, 0.6], [0.5, 0.5]])


def test_keep_top_breaks_a_tie_by_one_last_place() -> None:
    released = keep_top(np.array([[0.5, 0.5]]), np.array([[0.4, 0.6]]))
    assert released.tolist() == [[0.5, math.nextafter(0.5, 1.0)]]


@given(ROWS)
def test_the_first_of_equals_is_served(rows: Rows) -> None:
    assert top_labels(rows).tolist() == [row.index(max(row)) for row in rows.tolist()]


@given(ROWS)
def test_margins_are_the_top_minus_the_second(rows: Rows) -> None:
    expected = [1.0 if len(row) == 1 else sorted(row)[-1] - sorted(row)[-2] for row in rows.tolist()]
    assert margins(rows).tolist() == expected


@given(ROWS, st.data())
def test_largest_is_what_sorting_finds(rows: Rows, data: st.DataObject) -> None:
    n_kept = np.array([data.draw(st.integers(0, rows.shape[1])) for _ in rows])
    chosen = largest(rows, n_kept)
    for row, n, mask in zip(rows, n_kept, chosen, strict=True):
        order = sorted(range(len(row)), key=lambda i: (-row[i], i))
        assert np.flatnonzero(mask).tolist() == sorted(order[:n])


# Bits

@pytest.mark.parametrize(("n_classes", "bits"), [(0, 0.0), (1, 0.0), (2, 64.0), (10, 576.0)])
def test_a_full_row_has_its_free_floats(n_classes: int, bits: float) -> None:
    assert full_bits(n_classes) == bits


@given(st.integers(0, 200), st.integers(0, 200))
def test_choices_are_counted(n: int, k: int) -> None:
    if k <= n:
        assert log2_choose(n, k) == pytest.approx(math.log2(math.comb(n, k)), abs=1e-9)


# What a policy sees

def test_a_row_has_the_cell_of_its_query() -> None:
    query = Query(["a", "b"])
    assert context(query).cells == query.cells


def test_rows_of_one_query_have_cells_of_their_own() -> None:
    query = Query(["a", "b"])
    first, second = query.cells
    cells = context(query, 3).cells
    assert cells == [first + b"#0", first + b"#1", first + b"#2", second + b"#0", second + b"#1", second + b"#2"]
    assert context(Query(["b"]), 3).cells == cells[3:]


def test_per_row_applies_its_function_to_each_piece() -> None:
    release = PerRow(lambda rows: 2.0 * rows)
    np.testing.assert_array_equal(release.feed(np.array([[1.0]])), [[2.0]])
    np.testing.assert_array_equal(release.feed(np.array([[3.0], [4.0]])), [[6.0], [8.0]])
    assert release.finish() is None


# The outputs of an answer

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])


@pytest.mark.parametrize("name", ["", "p"], ids=["found", "named"])
def test_an_output_comes_as_normalised_rows_and_goes_back_in_its_shape(name: str) -> None:
    single = PROBABILITIES.astype(np.float32).astype(np.float64).reshape(2, 1, 3)
    output = find_outputs({"p": single}, 2, name)["p"]
    assert np.abs(output.rows.sum(axis=1) - 1.0).max() < 1e-15
    assert (output.rows.shape, output.rows_per_query) == ((2, 3), 1)
    assert output.restored(output.rows).shape == (2, 1, 3)


def test_a_query_may_have_several_rows() -> None:
    assert find_outputs({"p": PROBABILITIES}, 1, "")["p"].rows_per_query == 2


def test_a_named_column_is_the_positive_class() -> None:
    output = find_outputs({"p": np.array([0.25, 0.5])}, 2, "p")["p"]
    np.testing.assert_array_equal(output.rows, [[0.25, 0.75], [0.5, 0.5]])
    np.testing.assert_array_equal(output.restored(output.rows[::-1]), [0.5, 0.25])


@pytest.mark.parametrize("array", [
    np.array([0.25, 0.75]), np.array([[1.0], [1.0]]), np.array([[2.0, 1.0], [1.0, 1.0]]), np.empty((0, 3)),
    np.vstack([PROBABILITIES, PROBABILITIES[:1]]),
], ids=["one number a query", "one class", "no probabilities", "no rows", "rows that don't divide"])
def test_other_outputs_are_not_taken_for_probabilities(array: Rows) -> None:
    assert find_outputs({"x": array}, 2, "") == {}


@pytest.mark.parametrize(("found", "name", "message"), [
    ({"q": PROBABILITIES}, "p", "no floating-point output 'p', only q; correct"),
    ({}, "p", "only none"),
    ({"p": 2.0 * PROBABILITIES}, "p", "sums to 2"),
    ({"p": PROBABILITIES, "z": np.log(PROBABILITIES) + 3.0}, "", "output 'z' holds the logits"),
    ({"p": PROBABILITIES, "z": np.log(PROBABILITIES)}, "p", "output 'z' holds the logits"),
], ids=["missing", "no outputs", "sums", "logits", "logits beside a named one"])
def test_outputs_that_cannot_be_guarded_are_errors(found: dict[str, Rows], name: str, message: str) -> None:
    with pytest.raises(AnswerError, match=message):
        find_outputs(found, 2, name)


@pytest.mark.parametrize("numbers", list(itertools.permutations([1e308, -1e308, 0.0]))[:2], ids=["up", "down"])
def test_huge_outputs_beside_probabilities_pass(numbers: tuple[float, ...]) -> None:
    assert list(find_outputs({"p": PROBABILITIES, "z": np.array([numbers] * 2)}, 2, "")) == ["p"]

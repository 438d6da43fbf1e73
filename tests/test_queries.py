from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.queries import DEEPEST, ZERO_BELOW, Account, Query, canonical_features, canonical_value
from counterclone.randomness import generator


def cell(*numbers: float) -> bytes:
    return canonical_features(np.array([numbers], dtype=np.float64))[0]


CENTRES = st.builds(lambda sign, mantissa, exponent: sign * math.ldexp(mantissa, exponent - 7),
                    st.sampled_from([1.0, -1.0]), st.integers(128, 255), st.integers(-9, 120))
"""Numbers of eight significant bits: the middles of the cells."""
JITTER = st.floats(-0.99 * 2.0**-10, 0.99 * 2.0**-10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8)


@given(CENTRES, JITTER)
def test_jitter_inside_a_cell_is_the_same_query(centre: float, jitter: float) -> None:
    assert cell(centre * (1.0 + jitter)) == cell(centre)


@given(CENTRES)
def test_the_next_cell_is_another_query(centre: float) -> None:
    assert cell(centre * (1.0 + 2.0**-6)) != cell(centre)
    assert cell(-centre) != cell(centre)


@pytest.mark.parametrize(("one", "other"), [
    (0.0, -0.0),
    (0.0, ZERO_BELOW * 0.999),
    (0.0, -ZERO_BELOW * 0.999),
    (0.0, 5e-324),
    (0.1, np.float32(0.1)),
    (1.0, np.nextafter(1.0, 2.0)),
    (math.inf, 1e39),
    (math.inf, 1.7e308),
    (-math.inf, -1e39),
    (math.nan, math.nan),
], ids=["minus zero", "small", "small negative", "denormal", "float32", "last digit", "over float32", "huge",
        "huge negative", "nan"])
def test_these_numbers_are_the_same(one: float, other: float) -> None:
    assert cell(one) == cell(other)


@pytest.mark.parametrize(("one", "other"), [
    (0.0, ZERO_BELOW), (1.0, 2.0), (1.0, 1.01), (math.inf, -math.inf), (math.inf, 1e37), (math.nan, 0.0),
], ids=["least", "double", "percent", "infinities", "infinity", "nan"])
def test_these_numbers_differ(one: float, other: float) -> None:
    assert cell(one) != cell(other)


def test_places_count() -> None:
    assert cell(1.0, 2.0) != cell(2.0, 1.0)
    assert cell(1.0) != cell(1.0, 0.0)
    assert len(cell(1.0, 2.0, 3.0)) == 6


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_batch_equals_its_rows(order: str) -> None:
    features = generator(0, "features").standard_normal((50, 7))
    laid_out = features.copy(order="F") if order == "F" else features
    assert canonical_features(laid_out) == [cell(*row) for row in features]
    assert canonical_features(features[:0]) == []


def test_features_are_not_written_to() -> None:
    features = np.array([[1e-9, -0.0, 1e300]])
    features.setflags(write=False)
    assert canonical_features(features) == [cell(0.0, 0.0, math.inf)]


@pytest.mark.parametrize(("one", "other"), [
    (1, 1.0),
    (10**400, math.inf),
    (-(10**400), -math.inf),
    (0, -0.0),
    ("Hello World", "hello   world"),
    ("Hello", "  HELLO\n"),
    ("ABC 1", "ＡＢＣ　１"),  # full width
    ("straße", "STRASSE"),
    ("ﬁne", "fine"),
    ("é", "e\u0301"),
    ({"a": 1, "b": "X"}, {"b": "x", "a": 1.0}),
    ([1, "A"], (1.0, "a")),
    ([{"a": [1.0001]}], [{"a": [1]}]),
], ids=["integer", "huge", "huge negative", "zero", "case", "space", "width", "sharp s", "ligature", "accent",
        "order", "tuple", "nested"])
def test_these_values_are_the_same(one: object, other: object) -> None:
    assert canonical_value(one) == canonical_value(other)


@pytest.mark.parametrize(("one", "other"), [
    (1, True), (0, None), ("a", "b"), ("a b", "ab"), ("1", 1), ({"a": 1}, {"b": 1}), ([1, 2], [2, 1]), ([], {}),
    ("", None), ([[1], 2], [1, [2]]),
], ids=["true", "none", "text", "no space", "text of a number", "key", "order", "empty", "empty text", "nesting"])
def test_these_values_differ(one: object, other: object) -> None:
    assert canonical_value(one) != canonical_value(other)


@given(JSON)
def test_any_json_has_a_canonical_form(value: object) -> None:
    assert canonical_value(value) == canonical_value(value)
    assert canonical_value([value]) != canonical_value([[value]])


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_case_and_outer_space_of_text_never_count(text: str) -> None:
    assert canonical_value(text) == canonical_value(f" {text.upper()}\t")


def test_nesting_has_no_depth_that_fails() -> None:
    deep: object = 1
    for _ in range(900):  # as deep as a parser gets
        deep = [deep]
    assert canonical_value(deep) == canonical_value([deep])


def test_values_count_down_to_the_deepest_level() -> None:
    one, other = 1, 2
    nested: list[object] = [one, other]
    for _ in range(DEEPEST):
        nested = [[inner] for inner in nested]
    assert canonical_value(nested[0]) != canonical_value(nested[1])


@pytest.mark.parametrize(("values", "features"), [
    ([[1, 2.5], [3, 4]], [[1.0, 2.5], [3.0, 4.0]]),
    ([1, 2.5], [[1.0], [2.5]]),
    ([[[1, 2], [3, 4]]], [[1.0, 2.0, 3.0, 4.0]]),
    ([(1, 2)], [[1.0, 2.0]]),
    ([2**63], [[2.0**63]]),
    ([[], []], [[], []]),
    ([], []),
    ([True, False], [[1.0], [0.0]]),
    ([[1.5, True]], [[1.5, 1.0]]),
], ids=["table", "column", "images", "tuples", "unsigned", "no columns", "no rows", "bool", "bool among numbers"])
def test_rows_of_numbers_become_features(values: list[object], features: list[list[float]]) -> None:
    found = Query(values).features
    assert found is not None
    assert found.dtype == np.float64
    assert found.tolist() == features


@pytest.mark.parametrize(("values", "features"), [
    ([["1e3", 2]], [[1000.0, 2.0]]), ([[" 0.5 "], [1]], [[0.5], [1.0]]), ([[["1"], [2]]], [[1.0, 2.0]]),
], ids=["one", "spaces", "nested"])
def test_numbers_written_as_text_in_lists_become_features(values: list[object],
                                                         features: list[list[float]]) -> None:
    found = Query(values).features
    assert found is not None
    assert found.tolist() == features


def test_texts_that_spell_numbers_are_texts() -> None:
    assert Query(["12", "13"]).features is None
    assert Query([{"text": "12"}]).features is None


def test_a_row_has_the_same_cell_whatever_the_others_are() -> None:
    assert Query([[1, 2], ["a", 1]]).cells[0] == Query([[1.0, 2.0]]).cells[0]


@pytest.mark.parametrize("values", [
    ["a"], [[1, "a"]], [[1, None]], [[1, 2], [3]], [[1], 2], [{"a": 1}], [10**400], [[10**400]],
], ids=["text", "mixed", "null", "ragged", "uneven", "object", "huge", "huge in a row"])
def test_other_rows_have_no_features(values: list[object]) -> None:
    assert Query(values).features is None
    assert len(Query(values).cells) == len(values)


def test_features_cost_no_more_than_the_rows_themselves() -> None:
    # numpy would make room for the longest text in every place: here 4 TB.
    assert Query(["a" * 1_000_000, *["b"] * 1_000_000]).features is None
    assert Query([[1, "a" * 1_000_000]] * 1_000_000).features is None


def test_what_is_no_json_is_an_error() -> None:
    with pytest.raises(TypeError, match="not set"):
        canonical_value({1, 2})


def test_a_query_counts_its_rows() -> None:
    assert Query(np.zeros((3, 2))).n_rows == 3
    assert Query(["a", "b"]).n_rows == 2
    assert Query([]).n_rows == 0


def test_a_query_of_numbers_has_their_cells() -> None:
    query = Query(np.array([[1.0, 2.0], [3.0, 4.0]]), model="m")
    assert query.cells == [cell(1.0, 2.0), cell(3.0, 4.0)]
    assert query.cells is query.cells


def test_a_query_of_values_has_theirs() -> None:
    assert Query(["A", {"x": 1}]).cells == [canonical_value("a"), canonical_value({"x": 1.0})]


def test_other_features_have_other_cells() -> None:
    query = Query(np.array([[1.0]]), model="m")
    assert query.cells == [cell(1.0)]
    other = query.with_features(np.array([[2.0]]))
    assert (other.cells, other.model, query.cells) == ([cell(2.0)], "m", [cell(1.0)])


def test_an_account_is_in_no_class_unless_said() -> None:
    assert Account("0123456789abcdef").account_class == ""

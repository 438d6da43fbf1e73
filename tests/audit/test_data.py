from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from counterclone.audit.data import Data, as_data, as_inputs, class_numbers, complete, distinct
from counterclone.errors import ConfigError

NUMBERS = np.arange(60.0).reshape(30, 2)


class Told(list[str]):
    """What is warned of."""

    def __call__(self, text: str) -> None:
        self.append(text)


# What is taken

@pytest.mark.parametrize(("given", "expected"), [
    ([[1, 2], [3, 4]], [[1.0, 2.0], [3.0, 4.0]]),
    (np.array([[1, 2]], dtype=np.uint8), [[1.0, 2.0]]),
    (np.array([[True, False]]), [[1.0, 0.0]]),
    (np.array([[1, 2.5]], dtype=object), [[1.0, 2.5]]),
    (np.array([["1", "2.5"]]), [[1.0, 2.5]]),
], ids=["lists", "bytes", "booleans", "objects", "written out"])
def test_numbers_are_taken(given: Any, expected: Any) -> None:
    found = as_inputs(given, "pool")
    assert isinstance(found, np.ndarray)
    assert (found.tolist(), found.dtype.name) == (expected, "float64")


@pytest.mark.parametrize("given", [["one", "two"], ("one", "two"), np.array(["one", "two"]),
                                   np.array(["one", "two"], dtype=np.dtypes.StringDType())],
                         ids=["list", "tuple", "array", "strings"])
def test_texts_are_taken(given: Any) -> None:
    assert as_inputs(given, "pool") == ["one", "two"]


@pytest.mark.parametrize(("given", "message"), [
    ([1.0, 2.0], r"pool: has shape \(2,\); expected \(n, features\) numbers, or a list of texts"),
    (np.zeros((2, 3, 4)), r"has shape \(2, 3, 4\)"), ([], r"has shape \(0,\)"), (3, r"has shape \(\)"),
    ([[1, 2], [3]], "its rows differ in length"),
    ([["1", "2"], ["2", "red"]], "column 1 holds text or objects, such as 'red'; expected numbers, encoded as"),
    (np.array([[1.0, {}]], dtype=object), "column 1 holds text or objects"),
], ids=["flat", "images", "nothing", "a number", "ragged", "strings", "objects"])
def test_other_inputs_are_told(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        as_inputs(given, "pool")


def test_labels_may_come_with_inputs() -> None:
    assert as_data(NUMBERS, "pool").labels is None
    pair = as_data((NUMBERS, ["a"] * 30), "pool")
    assert pair.labels is not None
    assert pair.labels.tolist() == ["a"] * 30
    again = as_data(pair, "pool")
    assert again.labels is not None
    assert again.labels.tolist() == pair.labels.tolist()
    with pytest.raises(ConfigError, match=r"pool: 30 inputs have labels of shape \(2,\)"):
        as_data((NUMBERS, [0, 1]), "pool")


# What is left out

@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf, None], ids=str)
def test_rows_with_missing_values_are_left_out_and_told(missing: Any) -> None:
    given = NUMBERS.astype(object)
    given[[4, 9], 1] = missing
    told = Told()
    found = complete(as_data((given, np.arange(30)), "pool"), "pool", told)
    assert told == ["pool: 2 of 30 rows have missing or infinite values and were left out, the first is row 4"]
    assert found.labels is not None
    assert found.labels.tolist() == [row for row in range(30) if row not in (4, 9)]
    assert np.isfinite(np.asarray(found.inputs)).all()


def test_a_pool_of_nothing_but_missing_values_is_refused() -> None:
    with pytest.raises(ConfigError, match="pool: every row has a missing or infinite value"):
        complete(Data(np.full((3, 2), np.nan)), "pool", Told())


def test_whole_pools_pass_without_a_word() -> None:
    told = Told()
    assert np.array_equal(np.asarray(complete(Data(NUMBERS), "pool", told).inputs), NUMBERS)
    assert complete(Data(["a", ""]), "pool", told).inputs == ["a", ""]
    assert np.array_equal(np.asarray(distinct(Data(NUMBERS), NUMBERS + 0.5, told).inputs), NUMBERS)
    assert told == []


def test_duplicates_and_what_is_evaluated_on_leave_the_pool() -> None:
    told = Told()
    doubled = np.concatenate([NUMBERS, NUMBERS[:5]])
    found = distinct(Data(doubled, np.arange(35)), NUMBERS[25:], told)
    assert np.asarray(found.inputs).tolist() == NUMBERS[:25].tolist()
    assert found.labels is not None
    assert found.labels.tolist() == list(range(25))
    assert told == [
        "pool: 5 of 35 rows are duplicates and were left out",
        "pool: 5 rows are among the inputs that fidelity is told by, and were left out of the pool"]


def test_texts_are_told_apart_too() -> None:
    told = Told()
    texts = [f"text {i}" for i in range(25)]
    assert distinct(Data([*texts, "text 3"]), ["text 0"], told).inputs == texts[1:]
    assert len(told) == 2


def test_a_small_pool_is_told_and_an_empty_one_refused() -> None:
    told = Told()
    distinct(Data(NUMBERS[:3]), NUMBERS[9:], told)
    assert told == ["pool: it has 3 rows only, so attacks that learn are under-reported"]
    with pytest.raises(ConfigError, match="no row is left that isn't also evaluated on"):
        distinct(Data(NUMBERS), NUMBERS, told)


# True labels

@pytest.mark.parametrize(("labels", "names", "expected"), [
    ([0, 2, 1], None, [0, 2, 1]), ([0.0, 2.0, 1.0], None, [0, 2, 1]), ([True, False], None, [1, 0]),
    (["b", "a", "c"], ["a", "b", "c"], [1, 0, 2]), ([30, 10, 20], [10, 20, 30], [2, 0, 1]),
    ([1.0, 2.0], [1.0, 2.0, 3.0], [0, 1]),
], ids=["places", "floats", "booleans", "names", "numbers as names", "floats as names"])
def test_labels_become_places(labels: Any, names: Any, expected: Any) -> None:
    found = class_numbers(np.array(labels), None if names is None else np.array(names), 3, "pool")
    assert found is not None
    assert found.tolist() == expected


@pytest.mark.parametrize(("labels", "names", "shown"), [
    ([0, 3], None, "3"), ([0, -1], None, "-1"), ([0, 0.5], None, r"0\.5"), ([0, np.nan], None, r"0\.0"),
    (["a", "b"], None, "'a'"), (["a", "d"], ["a", "b", "c"], "'d'"), ([0, 4], [0, 1], "4"),
], ids=["beyond", "negative", "between", "NaN", "text", "no name", "names of other classes"])
def test_a_label_that_is_no_class_is_told(labels: Any, names: Any, shown: str) -> None:
    with pytest.raises(ConfigError, match=rf"pool: label .*{shown}.* is no class; expected .* 0 to 2"):
        class_numbers(np.array(labels), None if names is None else np.array(names), 3, "pool")


def test_no_labels_stay_none() -> None:
    assert class_numbers(None, None, 3, "pool") is None

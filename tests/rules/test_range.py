from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import numpy as np
import pytest

from counterclone.errors import Refused
from counterclone.queries import Query
from counterclone.randomness import generator
from counterclone.rules.range import Range
from counterclone.testing import check_rule

FEATURES = generator(0, "features").uniform(-1.0, 1.0, (20, 3))


@pytest.mark.parametrize("mode", ["refuse", "clip"])
@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (-0.5, 0.5), ((-1.0, -0.5, 0.0), 1.0), (-1.0, (1.0, 0.5, 1.0))],
                         ids=["around", "inside", "low each", "high each"])
def test_laws(bounds: tuple[Any, Any], mode: Literal["refuse", "clip"]) -> None:
    check_rule(Range(low=bounds[0], high=bounds[1], mode=mode), features=FEATURES)


def test_what_lies_inside_passes_as_it_is() -> None:
    query = Query(np.array([[0.0, 1.0], [0.5, 0.25]]))
    assert Range(low=0.0, high=1.0).admit(query) is query


@pytest.mark.parametrize(("features", "message"), [
    ([[0.5, 0.5], [0.5, 1.5]], "feature 1 of row 1 is 1.5, expected 0 to 1; scale the input"),
    ([[-0.25, 0.5]], "feature 0 of row 0 is -0.25, expected 0 to 1; "),
    ([[math.nan, 0.5]], "feature 0 of row 0 is nan, expected 0 to 1; "),
    ([[0.5, math.inf]], "feature 1 of row 0 is inf, expected 0 to 1; "),
], ids=["above", "below", "nan", "infinite"])
@pytest.mark.parametrize("bound", [(0.0, 1.0), ((0.0, 0.0), (1.0, 1.0))], ids=["for all", "for each"])
def test_what_lies_outside_is_refused(bound: tuple[Any, Any], features: list[list[float]], message: str) -> None:
    with pytest.raises(Refused, match=message):
        Range(low=bound[0], high=bound[1]).admit(Query(np.array(features)))


def test_what_lies_outside_is_clipped() -> None:
    query = Query(np.array([[-2.0, 0.5], [math.inf, 3.0]]), model="m")
    admitted = Range(low=0.0, high=(1.0, 2.0), mode="clip").admit(query)
    assert admitted.features is not None
    assert admitted.features.tolist() == [[0.0, 0.5], [1.0, 2.0]]
    assert admitted.model == "m"


def test_nan_cannot_be_clipped() -> None:
    with pytest.raises(Refused, match="is nan, expected 0 to 1"):
        Range(low=0.0, high=1.0, mode="clip").admit(Query(np.array([[5.0, math.nan]])))


@pytest.mark.parametrize("mode", ["refuse", "clip"])
def test_a_wrong_number_of_features_is_refused(mode: Literal["refuse", "clip"]) -> None:
    with pytest.raises(Refused, match="the query has 3 features, expected 2; send one value for each"):
        Range(low=(0.0, 0.0), high=1.0, mode=mode).admit(Query(np.zeros((1, 3))))


def test_text_passes() -> None:
    query = Query(["some text"])
    assert Range(low=0.0, high=1.0).admit(query) is query


@pytest.mark.parametrize(("options", "message"), [
    ({"low": 1.0, "high": 0.0}, "`low` must not be above `high`"),
    ({"low": [0.0, 2.0], "high": 1.0}, "`low` must not be above `high`"),
    ({"low": [0.0, 0.0], "high": [1.0, 1.0, 1.0]}, "`low` has 2 values and `high` 3"),
    ({"low": math.nan, "high": 1.0}, "nor either be nan"),
    ({"low": 0.0, "high": [1.0, math.nan]}, "nor either be nan"),
    ({"low": [], "high": 1.0}, "length >= 1"),
], ids=["above", "one above", "lengths", "nan", "nan in a list", "empty"])
def test_wrong_bounds_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(options, Range)


def test_half_lines_are_ranges() -> None:
    query = Query(np.array([[1e300]]))
    assert Range(low=0.0, high=math.inf).admit(query) is query

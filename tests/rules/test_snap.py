from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.queries import Query
from counterclone.randomness import generator
from counterclone.rules.snap import Snap
from counterclone.testing import check_rule

FEATURES = generator(0, "features").standard_normal((20, 3))


def snapped(step: float, *numbers: float) -> list[float]:
    admitted = Snap(step=step).admit(Query(np.array([numbers])))
    assert admitted.features is not None
    first: list[float] = admitted.features[0].tolist()
    return first


@pytest.mark.parametrize("step", [5e-324, 1e-300, 1e-3, 0.1, 1.0, 7.0, 1e300])
def test_laws(step: float) -> None:
    check_rule(Snap(step=step), features=FEATURES)


def test_inputs_go_to_the_nearest_multiple() -> None:
    assert snapped(0.5, 0.2, 0.3, -0.7, 10.1) == [0.0, 0.5, -0.5, 10.0]
    assert snapped(0.1, 0.32) == [pytest.approx(0.3)]


def test_inputs_of_a_cell_become_one() -> None:
    spread = 0.25 + np.linspace(-0.124, 0.124, 50)
    assert len(set(snapped(0.25, *spread))) == 1


def test_inputs_on_the_grid_pass_as_they_are() -> None:
    query = Query(np.array([[0.5, -1.0, 0.0]]))
    assert Snap(step=0.5).admit(query) is query


def test_text_passes() -> None:
    query = Query(["some text"])
    assert Snap(step=0.5).admit(query) is query


@given(st.floats(5e-324, 1e300), st.floats(allow_nan=False))
def test_snapping_twice_is_snapping_once(step: float, number: float) -> None:
    once = snapped(step, number)
    assert snapped(step, *once) == once


@given(st.floats(1e-6, 1e6), st.floats(-1e6, 1e6))
def test_nothing_moves_by_more_than_half_a_step(step: float, number: float) -> None:
    assert abs(snapped(step, number)[0] - number) <= 0.5 * step * (1.0 + 1e-9) + 1e-9 * abs(number)


@pytest.mark.parametrize("number", [math.inf, -math.inf, 1.7e308, 2.0**53 + 2.0])
def test_numbers_coarser_than_the_grid_stay(number: float) -> None:
    assert snapped(0.1, number) == [number]


def test_nan_stays_nan() -> None:
    assert math.isnan(snapped(0.1, math.nan)[0])


@pytest.mark.parametrize(("step", "message"), [
    (0.0, "> 0.0"), (-1.0, "> 0.0"), (math.nan, "> 0.0"), (math.inf, "`step` must be finite"),
], ids=["zero", "negative", "nan", "infinite"])
def test_a_step_is_a_positive_number(step: float, message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert({"step": step}, Snap)

from __future__ import annotations

import numpy as np
import pytest

from counterclone.attacks._network import Aims, Network, trained
from counterclone.randomness import generator

INPUTS = generator(0, "inputs").standard_normal((40, 3))
ROWS = np.eye(2)[(INPUTS[:, 0] * INPUTS[:, 1] > 0.0).astype(np.intp)]
LOGS = 8.0 * (ROWS - 0.5)


def network() -> Network:
    return Network.drawn((3, 7, 5, 2), generator(1, "start"))


def test_the_gradient_is_that_of_differences() -> None:
    drawn, weights, step = network(), generator(2, "weights").standard_normal((40, 2)), 1e-6
    found = drawn.gradient(INPUTS, weights)
    for feature in range(3):
        moved = INPUTS.copy()
        moved[:, feature] += step
        expected = ((drawn.logits(moved) - drawn.logits(INPUTS)) * weights).sum(axis=1) / step
        np.testing.assert_allclose(found[:, feature], expected, atol=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_it_learns_what_no_line_tells(weight: float) -> None:
    found = trained(INPUTS, Aims(ROWS, LOGS, weight), 500, generator(3, "training"))
    assert (found.answer(INPUTS).argmax(axis=1) == ROWS.argmax(axis=1)).mean() > 0.95


def test_the_same_generator_trains_the_same() -> None:
    one, other = (trained(INPUTS, Aims(ROWS, LOGS, 0.1), 50, generator(4, "training")) for _ in range(2))
    np.testing.assert_array_equal(one.answer(INPUTS), other.answer(INPUTS))


def test_one_input_is_enough() -> None:
    found = trained(INPUTS[:1], Aims(ROWS[:1], LOGS[:1], 0.1), 100, generator(5, "training"))
    assert found.answer(INPUTS[:1]).argmax() == ROWS[0].argmax()

from __future__ import annotations

import numpy as np
import pytest

from counterclone.attacks._selection import far_apart, pays, uncertain, unsure
from counterclone.attacks._students import Lesson
from counterclone.queries import Features
from counterclone.randomness import generator


def lesson(inputs: Features) -> Lesson:
    """The first feature's sign, surely far from zero."""
    share = 1.0 / (1.0 + np.exp(-8.0 * inputs[:, 0]))
    return Lesson(inputs, np.column_stack([1.0 - share, share]))


INPUTS = generator(0, "inputs").uniform(-1.0, 1.0, (400, 2))


@pytest.mark.parametrize("family", ["kernel", "forest"])
def test_inputs_near_the_boundary_are_asked(family: str) -> None:
    places = unsure(lesson(INPUTS[:60]), INPUTS[60:], 20, family, generator(1, "student"))
    assert len(set(places)) == 20
    assert np.abs(INPUTS[60:][places, 0]).mean() < 0.2


def test_those_near_the_boundary_are_thinned_out() -> None:
    candidates = np.concatenate([INPUTS[60:], np.tile([[0.001, 0.5]], (50, 1)) + 1e-6 * INPUTS[:50]])
    places = uncertain(lesson(INPUTS[:60]), candidates, 20, generator(1, "student"))
    assert len(set(places)) == 20
    assert (places >= 340).sum() <= 2  # of fifty that are nearly one
    assert np.abs(candidates[places, 0]).mean() < 0.5


def test_the_farthest_comes_first() -> None:
    line = np.arange(11.0)[:, None]
    assert far_apart(line[:1], line, 3).tolist() == [10, 5, 2]
    assert sorted(far_apart(line[:1], line, 11)) == list(range(11))


def test_selection_pays_where_some_inputs_tell_nothing() -> None:
    rng = generator(2, "crowd")
    crowd = np.concatenate([np.full((300, 6), 5.0) + 0.01 * rng.standard_normal((300, 6)),
                            rng.uniform(-1.0, 1.0, (100, 6))])[rng.permutation(400)]
    assert pays(lesson(crowd[:120]), generator(3, "pilot"))


def test_few_answers_decide_nothing() -> None:
    assert not pays(lesson(INPUTS[:10]), generator(3, "pilot"))

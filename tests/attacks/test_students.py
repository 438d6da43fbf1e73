from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from counterclone.answers import Rows, top_labels
from counterclone.attacks._students import FAMILIES, Answering, Effort, Lesson, Scale, fitted, taught
from counterclone.policies.rounding import Rounding
from counterclone.queries import Features
from counterclone.randomness import generator

WIDTH = 5
WEIGHTS = generator(0, "weights").normal(scale=3.0, size=(4, WIDTH))
UNSEEN = generator(0, "unseen").uniform(-1.0, 1.0, (1000, WIDTH))


def linear(inputs: Features) -> Rows:
    rows: Rows = softmax(inputs @ WEIGHTS.T, axis=1)
    return rows


def steps(inputs: Features) -> Rows:
    """What a tree answers: a leaf for each pair of signs."""
    leaves = 2 * (inputs[:, 0] > 0.1).astype(np.intp) + (inputs[:, 1] > -0.2)
    rows = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.6, 0.2, 0.1], [0.0, 0.1, 0.8, 0.1], [0.2, 0.1, 0.1, 0.6]])
    found: Rows = rows[leaves]
    return found


def waves(inputs: Features) -> Rows:
    rows: Rows = softmax(4.0 * np.sin(2.0 * inputs[:, :4] + inputs[:, 1:]), axis=1)
    return rows


def lesson(answer: Answering, n: int) -> Lesson:
    inputs = generator(1, "lesson").uniform(-1.0, 1.0, (n, WIDTH))
    return Lesson(inputs, answer(inputs))


def agreement(rows: Rows, truth: Rows) -> float:
    return float((top_labels(rows) == top_labels(truth)).mean())


def labels_of(given: Lesson) -> Lesson:
    return Lesson(given.inputs, np.eye(4)[given.labels])


@pytest.mark.parametrize(("answer", "n", "families", "least"), [
    (linear, 30, {"linear"}, 1.0), (steps, 200, {"forest", "extra_trees"}, 0.97), (waves, 200, {"kernel"}, 0.93)],
    ids=["linear", "steps", "waves"])
def test_the_family_that_fits_is_chosen(answer: Answering, n: int, families: set[str], least: float) -> None:
    student = taught(lesson(answer, n), generator(2, "student"))
    assert student is not None
    assert student.family in families
    assert agreement(student.answer(UNSEEN), answer(UNSEEN)) >= least


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shown", ["scores", "labels", "rounded"])
def test_every_family_learns_whatever_is_shown(family: str, shown: str) -> None:
    given = lesson(linear, 300)
    if shown == "labels":
        given = labels_of(given)
    elif shown == "rounded":
        given = Lesson(given.inputs, Rounding(decimals=1).round(given.rows))
    rows = fitted(family, given, Effort(), generator(3, family))(UNSEEN)
    assert rows.shape == (1000, 4)
    assert (rows >= 0.0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    assert agreement(rows, linear(UNSEEN)) > 0.75


@pytest.mark.parametrize("n", [1, 2, 5, 9])
@pytest.mark.parametrize("is_hard", [False, True])
def test_few_answers_are_enough(n: int, is_hard: bool) -> None:
    given = lesson(linear, n)
    student = taught(labels_of(given) if is_hard else given, generator(4, "student"))
    assert student is not None
    np.testing.assert_allclose(student.answer(UNSEEN).sum(axis=1), 1.0)


def test_no_answers_are_nothing() -> None:
    assert taught(lesson(linear, 0), generator(4, "student")) is None


def test_one_label_is_all_that_is_known() -> None:
    student = taught(Lesson(UNSEEN[:30], np.tile([0.0, 1.0, 0.0, 0.0], (30, 1))), generator(4, "student"))
    assert student is not None
    assert (student.answer(UNSEEN) == [0.0, 1.0, 0.0, 0.0]).all()


def test_labels_that_were_never_seen_get_nothing() -> None:
    given = labels_of(lesson(linear, 100))
    two = given.take(given.labels < 2)
    for family in ("linear", "kernel"):
        rows = fitted(family, two, Effort(), generator(5, family))(UNSEEN)
        assert (rows[:, 2:] == 0.0).all()


def test_zero_counts_as_less_than_what_can_be_told() -> None:
    rows = Rounding(decimals=2).round(linear(UNSEEN[:50]))
    logs = Lesson(UNSEEN[:50], rows).logs
    assert np.isfinite(logs).all()
    np.testing.assert_allclose(logs.sum(axis=1), 0.0, atol=1e-9)
    fine = Lesson(UNSEEN[:50], linear(UNSEEN[:50])).logs
    np.testing.assert_allclose(np.diff(fine, axis=1), np.diff(np.log(linear(UNSEEN[:50])), axis=1))


# Scales

def test_features_of_one_unit_keep_their_proportions() -> None:
    pixels = UNSEEN * np.array([1.0, 1.0, 0.9, 0.01, 1.0])
    assert len(set(Scale.of(pixels).width)) == 1


def test_features_of_several_units_are_scaled_apart() -> None:
    mixed = UNSEEN * np.array([1e-3, 1.0, 10.0, 1e3, 0.0])
    scaled = Scale.of(mixed).scaled(mixed)
    np.testing.assert_allclose(scaled[:, :4].std(axis=0), 1.0)
    assert (scaled[:, 4] == 0.0).all()

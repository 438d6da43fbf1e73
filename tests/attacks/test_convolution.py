from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from scipy.special import softmax

from counterclone.answers import Rows, top_labels
from counterclone.attacks import _convolution
from counterclone.attacks._students import Effort, Lesson, Scale, Student, chosen, fitted
from counterclone.queries import Features
from counterclone.randomness import generator

SIDE = 14
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="the extra `deep` isn't installed")


def images(name: str, n: int) -> tuple[Features, Rows]:
    """Strokes that lie, stand or slope, anywhere: what a network without convolutions finds hard."""
    rng = generator(0, name)
    kinds = rng.integers(0, 3, n)
    drawn = np.zeros((n, SIDE, SIDE))
    for image, kind in zip(drawn, kinds, strict=True):
        row, column = rng.integers(1, SIDE - 6, 2)
        for i in range(5):
            image[row + i * (kind != 0), column + i * (kind != 1)] = 1.0
    blurred = drawn + 0.7 * sum(np.roll(drawn, by, axis) for by in (-1, 1) for axis in (1, 2))
    noise = 0.02 * rng.standard_normal((n, SIDE * SIDE))
    return blurred.reshape(n, -1) + noise, softmax(6.0 * np.eye(3)[kinds], axis=1)


INPUTS, ROWS = images("asked", 400)
UNSEEN, TRUE = images("unseen", 300)
SCALE = Scale.of(INPUTS)
LESSON = Lesson(SCALE.scaled(INPUTS), ROWS)


def taught_alike(lesson: Lesson) -> Student:
    family = fitted("convolution", lesson, Effort(steps=200), generator(0, "student"))
    return Student("convolution", SCALE, family)


@needs_torch
@pytest.mark.parametrize("is_hard", [False, True], ids=["scores", "labels"])
def test_images_are_learnt_wherever_things_are_in_them(is_hard: bool) -> None:
    lesson = Lesson(LESSON.inputs, np.eye(3)[LESSON.labels]) if is_hard else LESSON
    rows = taught_alike(lesson).answer(UNSEEN)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    assert (top_labels(rows) == top_labels(TRUE)).mean() > 0.95


@needs_torch
def test_it_is_chosen_where_it_is_best() -> None:
    assert chosen(LESSON, generator(0, "choice")) == "convolution"


@needs_torch
def test_the_same_seed_is_the_same_student_whoever_drew_meanwhile() -> None:
    import torch

    one = taught_alike(LESSON).answer(UNSEEN)
    state = torch.get_rng_state()
    np.testing.assert_array_equal(one, taught_alike(LESSON).answer(UNSEEN))
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_allclose(one[:1], taught_alike(LESSON).answer(UNSEEN[:1]), atol=1e-6)


def test_what_is_no_image_or_too_small_gets_none() -> None:
    assert not _convolution.fits(generator(0, "noise").standard_normal((100, SIDE * SIDE)))
    assert not _convolution.fits(INPUTS[:, :-1])
    assert _convolution.fits(INPUTS) == (find_spec("torch") is not None)

from __future__ import annotations

import numpy as np
import pytest

from counterclone.attacks import _kernel
from counterclone.attacks._kernel import regressed
from counterclone.randomness import generator

UNSEEN = generator(0, "unseen").uniform(-2.0, 2.0, (500, 2))


def logs(inputs: np.ndarray) -> np.ndarray:
    waves = 3.0 * np.sin(inputs)
    three = np.column_stack([waves[:, 0], waves[:, 1], waves[:, 0] * waves[:, 1] / 3.0])
    centred: np.ndarray = three - three.mean(axis=1, keepdims=True)
    return centred


def agreement(inputs: np.ndarray, shown: np.ndarray) -> float:
    rows = regressed(inputs, shown, generator(1, "student")).answer(UNSEEN)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    return float((rows.argmax(axis=1) == logs(UNSEEN).argmax(axis=1)).mean())


def test_a_smooth_function_is_learnt_from_few() -> None:
    inputs = generator(2, "inputs").uniform(-2.0, 2.0, (60, 2))
    assert agreement(inputs, logs(inputs)) > 0.98


def test_near_duplicates_are_not_mistaken_for_a_rough_function() -> None:
    rng = generator(3, "inputs")
    inputs = np.repeat(rng.uniform(-2.0, 2.0, (40, 2)), 5, axis=0)
    inputs = inputs + 0.02 * rng.standard_normal(inputs.shape)
    assert agreement(inputs, logs(inputs)) > 0.95


def test_noise_is_averaged() -> None:
    rng = generator(4, "inputs")
    inputs = rng.uniform(-2.0, 2.0, (400, 2))
    assert agreement(inputs, logs(inputs) + 0.5 * rng.standard_normal((400, 3))) > 0.92


def test_many_are_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernel, "MOST", 80)
    inputs = generator(5, "inputs").uniform(-2.0, 2.0, (300, 2))
    assert agreement(inputs, logs(inputs)) > 0.97


@pytest.mark.parametrize("n", [1, 2])
def test_one_answer_is_repeated(n: int) -> None:
    inputs = np.ones((n, 2))
    rows = regressed(inputs, logs(inputs), generator(6, "student")).answer(inputs)
    assert rows.argmax() == logs(inputs)[0].argmax()

"""A model that changes while it is tuned."""

from __future__ import annotations

import numpy as np
import pytest

from counterclone.queries import Features
from counterclone.randomness import generator
from counterclone.tune import Setting, Subject, tune
from counterclone.tune.constancy import N_ASKED, Constancy

POOL = generator(0, "constancy").normal(size=(60, 3))


class Model:
    """Answers by weights, which its owner may replace."""

    def __init__(self, noise: float = 0.0) -> None:
        self.weights = np.eye(3)
        self.noise = noise
        self.rng = generator(1, "noise")

    def __call__(self, inputs: Features) -> Features:
        logits = inputs @ self.weights + self.noise * self.rng.normal(size=(len(inputs), 3))
        odds = np.exp(logits)
        found: Features = odds / odds.sum(axis=1, keepdims=True)
        return found


def test_the_same_model_has_the_same_answers() -> None:
    constancy = Constancy(Subject(predict=Model(), pool=POOL))
    assert (constancy.n_changed, constancy.n_asked, constancy.classes) == (0, N_ASKED, 3)


def test_another_release_is_noticed() -> None:
    model = Model()
    constancy = Constancy(Subject(predict=model, pool=POOL))
    model.weights = 2 * np.eye(3)
    assert constancy.n_changed == N_ASKED
    assert constancy.release != Constancy(Subject(predict=model, pool=POOL)).release


def test_a_target_that_never_repeats_itself_tells_nothing() -> None:
    assert Constancy(Subject(predict=Model(noise=0.5), pool=POOL)).n_changed == 0


def test_without_inputs_nothing_is_asked() -> None:
    constancy = Constancy(Subject(predict=Model()))
    assert (constancy.n_asked, constancy.n_changed, constancy.classes) == (0, 0, None)


def test_a_sweep_of_two_models_chooses_nothing_and_keeps_its_figures() -> None:
    model = Model()

    def say(text: str) -> None:
        if "on the frontier" in text:
            model.weights = np.eye(3)[[1, 2, 0]]

    found = tune(Subject(predict=model, pool=POOL, evaluate=generator(2, "told").normal(size=(200, 3))),
                 tried=[Setting("as it is", ()), Setting("labels", ({"kind": "labels"},))], budgets=(20,), seeds=1,
                 attacks=["hard_label"], say=say)
    assert found.chosen is None
    assert "the target changed during the sweep: 20 of 20" in found.reason
    assert len(found.points) == 2
    with pytest.raises(StopIteration):
        next(point for point in found.points if not point.is_judged)

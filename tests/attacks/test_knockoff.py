from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from counterclone.answers import Reply, top_labels
from counterclone.attacks.knockoff import Knockoff
from counterclone.audit.surfaces import Surface, surface
from counterclone.demo import digits
from counterclone.queries import Features, Inputs
from counterclone.testing import check_attack

if TYPE_CHECKING:
    from tests.attacks.conftest import Asked, Attacked

    from counterclone.attacks._transfer import Selection

DATA = digits.load(0)
POOL, UNSEEN = DATA.pool.pixels, DATA.honest.pixels
LOWER, UPPER = np.zeros(64), np.ones(64)
MODEL = MLPClassifier((64, 64), max_iter=400, random_state=0).fit(*DATA.training)
FULL = Surface(name="full")


def target(inputs: Inputs) -> Reply:
    return Reply(MODEL.predict_proba(np.asarray(inputs)))


def run(attacked: Attacked, budget: int, *, pool: Features = POOL, selection: Selection = "auto",
        shown: Surface = FULL, seed: int = 0) -> Asked:
    asked = attacked(Knockoff(selection=selection), target, budget, pool=pool, lower=LOWER, upper=UPPER,
                     classes=10, surface=shown, seed=seed)
    assert asked.queries == budget
    return asked


def agreement(asked: Asked) -> float:
    assert asked.surrogate is not None
    return float((top_labels(asked.surrogate.answer(UNSEEN)) == top_labels(target(UNSEEN).rows)).mean())


@pytest.mark.parametrize("selection", ["auto", "random", "active"])
def test_laws(selection: Selection) -> None:
    check_attack(Knockoff(selection=selection))


def test_a_network_is_copied_with_a_hundred_queries(attacked: Attacked) -> None:
    assert np.mean([agreement(run(attacked, 100, seed=seed)) for seed in range(3)]) >= 0.955


@pytest.mark.parametrize("name", ["full", "labels"])
def test_choosing_beats_drawing_at_equal_queries(attacked: Attacked, name: str) -> None:
    chosen, drawn = (np.mean([agreement(run(attacked, 100, selection=how, shown=surface(name), seed=seed))
                              for seed in range(3)]) for how in ("active", "random"))
    assert chosen > drawn


@pytest.mark.parametrize("name", ["decimals-2", "top-3", "top-1", "noise", "reverse-sigmoid", "labels"])
def test_whatever_is_shown_teaches(attacked: Attacked, name: str) -> None:
    assert agreement(run(attacked, 100, shown=surface(name))) > 0.8


def test_more_than_the_pool_is_asked_in_copies(attacked: Attacked) -> None:
    pool = POOL[:40]  # which teaches .92
    asked = run(attacked, 160, pool=pool, selection="random")
    known = {row.tobytes() for row in pool}
    assert {row.tobytes() for row in asked.inputs[:len(pool)]} == known
    assert not any(row.tobytes() in known for row in asked.inputs[len(pool):])
    assert (asked.inputs >= 0.0).all()
    assert (asked.inputs <= 1.0).all()
    assert agreement(asked) > agreement(run(attacked, len(pool), pool=pool))


def test_duplicates_of_a_pool_are_asked_once(attacked: Attacked) -> None:
    asked = run(attacked, 100, pool=np.repeat(POOL[:100], 3, axis=0))
    assert len(np.unique(asked.inputs, axis=0)) == 100


def test_without_a_pool_inputs_are_drawn_evenly(attacked: Attacked) -> None:
    asked = run(attacked, 200, pool=np.empty((0, 64)))
    assert np.abs(asked.inputs.mean() - 0.5) < 0.02
    assert asked.surrogate is not None


@pytest.mark.parametrize("pool", [POOL[:1], np.zeros((5, 64)), np.repeat(POOL[:40, 20:21], 64, axis=1)],
                         ids=["one input", "one value", "one direction"])
def test_poor_pools_are_borne(attacked: Attacked, pool: Features) -> None:
    assert run(attacked, 120, pool=pool).surrogate is not None

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from counterclone.answers import Reply, top_labels
from counterclone.attacks.jacobian import Jacobian
from counterclone.queries import Inputs
from counterclone.randomness import generator
from counterclone.targets.local import softmax
from counterclone.testing import check_attack

if TYPE_CHECKING:
    from tests.attacks.conftest import Attacked

N_FEATURES, N_CLASSES = 6, 4
LOWER, UPPER = np.full(N_FEATURES, -1.0), np.ones(N_FEATURES)
HIDDEN = generator(0, "hidden").normal(size=(12, N_FEATURES))
WEIGHTS = generator(0, "weights").normal(scale=3.0, size=(N_CLASSES, 12))
POOL = generator(0, "pool").uniform(LOWER, UPPER, (20, N_FEATURES))
UNSEEN = generator(0, "unseen").uniform(LOWER, UPPER, (2000, N_FEATURES))


def target(inputs: Inputs) -> Reply:
    return Reply(softmax(np.sin(np.asarray(inputs) @ HIDDEN.T) @ WEIGHTS.T))


@pytest.mark.parametrize("targets", ["random", "own"])
def test_laws(targets: Literal["random", "own"]) -> None:
    check_attack(Jacobian(targets=targets))


@pytest.mark.parametrize("targets", ["random", "own"])
def test_moved_inputs_teach_more_than_a_small_pool(attacked: Attacked, targets: Literal["random", "own"]) -> None:
    agreed = []
    for budget in (len(POOL), 200):
        attack = Jacobian(targets=targets, seeds=1.0 if budget == len(POOL) else 0.1)
        asked = attacked(attack, target, budget, pool=POOL, lower=LOWER, upper=UPPER, classes=N_CLASSES)
        assert asked.surrogate is not None
        assert asked.queries == budget
        agreed.append((top_labels(asked.surrogate.answer(UNSEEN)) == top_labels(target(UNSEEN).rows)).mean())
    assert agreed[1] > agreed[0] + 0.1


def test_inputs_move_by_one_step_and_stay_sensible(attacked: Attacked) -> None:
    asked = attacked(Jacobian(step=0.05, seeds=0.5), target, 40, pool=POOL, lower=LOWER, upper=UPPER,
                     classes=N_CLASSES).inputs
    assert set(map(tuple, asked[:20])) == set(map(tuple, POOL))
    assert (np.abs(asked) <= 1.0).all()
    for moved in asked[20:]:
        gaps = np.abs(POOL - moved).max(axis=1)
        assert gaps.min() <= 0.1 + 1e-12

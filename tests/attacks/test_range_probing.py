from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from counterclone.answers import Reply, top_labels
from counterclone.attacks.knockoff import Knockoff
from counterclone.attacks.range_probing import RangeProbing
from counterclone.audit.surfaces import Surface
from counterclone.queries import Inputs
from counterclone.randomness import generator
from counterclone.targets.local import softmax
from counterclone.testing import check_attack

if TYPE_CHECKING:
    from tests.attacks.conftest import Asked, Attacked

N_FEATURES, N_CLASSES, BUDGET = 10, 5, 200
LOWER, UPPER = np.full(N_FEATURES, -1.0), np.ones(N_FEATURES)
WEIGHTS = generator(0, "weights").normal(scale=2.0, size=(N_CLASSES, N_FEATURES))
POOL = generator(0, "pool").uniform(LOWER, UPPER, (400, N_FEATURES))
UNSEEN = generator(0, "unseen").uniform(LOWER, UPPER, (2000, N_FEATURES))


def target(inputs: Inputs) -> Reply:
    return Reply(softmax(np.asarray(inputs) @ WEIGHTS.T))


def guarded_inside(inputs: Inputs) -> Reply:
    """Labels inside the range, and everything outside."""
    rows = target(inputs).rows
    inside = (np.abs(np.asarray(inputs)) <= 1.0).all(axis=1)
    return Reply(np.where(inside[:, None], 0.9 * np.eye(N_CLASSES)[top_labels(rows)] + 0.1 / N_CLASSES, rows))


def run(attacked: Attacked, attack: RangeProbing | Knockoff, answer: object = target, *,
        is_open: bool = True) -> Asked:
    asked = attacked(attack, answer, BUDGET, pool=POOL, lower=LOWER, upper=UPPER,  # type: ignore[arg-type]
                     classes=N_CLASSES, surface=Surface(name="tried", is_open=is_open))
    assert asked.queries == BUDGET
    return asked


def agreement(asked: Asked) -> float:
    assert asked.surrogate is not None
    return float((top_labels(asked.surrogate.answer(UNSEEN)) == top_labels(target(UNSEEN).rows)).mean())


def outside(asked: Asked) -> int:
    return int((np.abs(asked.inputs) > 1.0).any(axis=1).sum())


def test_laws() -> None:
    check_attack(RangeProbing())


def test_what_is_guarded_inside_only_is_learnt_outside(attacked: Attacked) -> None:
    asked = run(attacked, RangeProbing(), guarded_inside)
    assert outside(asked) > BUDGET / 8
    assert agreement(asked) > agreement(run(attacked, Knockoff(), guarded_inside)) + 0.02


def test_where_it_helps_nothing_it_costs_little(attacked: Attacked) -> None:
    asked = run(attacked, RangeProbing())
    assert agreement(asked) > agreement(run(attacked, Knockoff())) - 0.03


def test_a_closed_range_is_never_left(attacked: Attacked) -> None:
    asked = run(attacked, RangeProbing(), is_open=False)
    assert outside(asked) == 0
    np.testing.assert_array_equal(asked.inputs, run(attacked, Knockoff(), is_open=False).inputs)

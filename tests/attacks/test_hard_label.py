from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from counterclone.answers import Reply, Rows, top_labels
from counterclone.attacks.hard_label import HardLabel
from counterclone.attacks.knockoff import Knockoff
from counterclone.audit.surfaces import Surface
from counterclone.queries import Inputs
from counterclone.testing import check_attack

if TYPE_CHECKING:
    from tests.attacks.conftest import Asked, Attacked

BUDGET, N_CLASSES, N_POOL = 50, 10, 400
PIXELS, DIGITS = load_digits(return_X_y=True)
POOL, UNSEEN = PIXELS[:N_POOL] / 16.0, PIXELS[-600:] / 16.0
MODEL = LinearDiscriminantAnalysis().fit(PIXELS[N_POOL:-600] / 16.0, DIGITS[N_POOL:-600])


def target(inputs: Inputs) -> Reply:
    return Reply(MODEL.predict_proba(np.asarray(inputs)))


def run(attacked: Attacked, attack: HardLabel | Knockoff, budget: int, policy: str = "labels",
        seed: int = 0) -> Asked:
    asked = attacked(attack, target, budget, pool=POOL, lower=POOL.min(axis=0), upper=POOL.max(axis=0),
                     classes=N_CLASSES, surface=Surface(name="tried", policies=({"kind": policy},)), seed=seed)
    assert asked.queries == budget
    return asked


def answers(asked: Asked) -> Rows:
    assert asked.surrogate is not None
    return asked.surrogate.answer(UNSEEN)


def agreement(asked: Asked) -> float:
    return float((top_labels(answers(asked)) == top_labels(target(UNSEEN).rows)).mean())


def test_laws() -> None:
    check_attack(HardLabel())


def test_inputs_without_labels_help_where_labels_are_few(attacked: Attacked) -> None:
    gains = [agreement(run(attacked, HardLabel(), BUDGET, seed=seed))
             - agreement(run(attacked, Knockoff(), BUDGET, seed=seed)) for seed in range(3)]
    assert sum(gains) > 0.0


def test_only_labels_are_looked_at(attacked: Attacked) -> None:
    labels, reversed_ = (run(attacked, HardLabel(), BUDGET, policy) for policy in ("labels", "reverse_sigmoid"))
    np.testing.assert_array_equal(labels.inputs, reversed_.inputs)
    np.testing.assert_array_equal(answers(labels), answers(reversed_))


def test_a_pool_that_is_asked_whole_leaves_a_student(attacked: Attacked) -> None:
    assert agreement(run(attacked, HardLabel(), len(POOL) + 50)) > 0.9

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from counterclone.answers import Reply, Rows, top_labels
from counterclone.attacks.denoising import GUESSES, Denoising
from counterclone.attacks.knockoff import Knockoff
from counterclone.audit.surfaces import Surface
from counterclone.queries import Inputs
from counterclone.randomness import generator
from counterclone.targets.local import softmax
from counterclone.testing import check_attack

if TYPE_CHECKING:
    from tests.attacks.conftest import Attacked

N_FEATURES, N_CLASSES, BUDGET = 10, 8, 200
LOWER, UPPER = np.full(N_FEATURES, -1.0), np.ones(N_FEATURES)
WEIGHTS = generator(0, "weights").normal(scale=3.0, size=(N_CLASSES, N_FEATURES))
POOL = generator(0, "pool").uniform(LOWER, UPPER, (BUDGET, N_FEATURES))
UNSEEN = generator(0, "unseen").uniform(LOWER, UPPER, (2000, N_FEATURES))


def target(inputs: Inputs) -> Reply:
    return Reply(softmax(np.asarray(inputs) @ WEIGHTS.T))


def answers(attacked: Attacked, attack: Denoising | Knockoff, shown: Surface) -> Rows:
    asked = attacked(attack, target, BUDGET, pool=POOL, lower=LOWER, upper=UPPER, classes=N_CLASSES, surface=shown)
    assert asked.surrogate is not None
    assert asked.queries == BUDGET
    return asked.surrogate.answer(UNSEEN)


def agreement(rows: Rows) -> float:
    return float((top_labels(rows) == top_labels(target(UNSEEN).rows)).mean())


def test_laws() -> None:
    check_attack(Denoising())


@pytest.mark.parametrize("policy", [GUESSES[0], {"kind": "reverse_sigmoid", "beta": 0.8, "gamma": 0.15}],
                         ids=["guessed", "other options"])
def test_a_distortion_like_a_guess_is_undone(attacked: Attacked, policy: dict[str, object]) -> None:
    shown = Surface(name="tried", policies=(policy,))
    own, plain = (answers(attacked, attack, shown) for attack in (Denoising(), Knockoff()))
    assert agreement(own) > agreement(plain) + 0.03
    truth = target(UNSEEN).rows
    assert np.abs(own - truth).sum() < 0.5 * np.abs(plain - truth).sum()


@pytest.mark.parametrize("policies", [(), ({"kind": "noise", "scale": 0.5}, {"kind": "rounding", "decimals": 2})],
                         ids=["nothing", "noise"])
def test_where_no_guess_fits_it_is_plain(attacked: Attacked, policies: tuple[dict[str, object], ...]) -> None:
    shown = Surface(name="tried", policies=policies)
    own, plain = (agreement(answers(attacked, attack, shown)) for attack in (Denoising(), Knockoff()))
    assert own > plain - 0.02

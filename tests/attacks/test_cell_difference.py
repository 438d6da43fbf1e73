from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from counterclone.answers import Reply, top_labels
from counterclone.attacks._linear import Linear
from counterclone.attacks.cell_difference import CellDifference
from counterclone.attacks.equation_solving import EquationSolving
from counterclone.attacks.knockoff import Knockoff
from counterclone.audit.surfaces import Surface, surface
from counterclone.protocols import Attack
from counterclone.queries import Inputs, canonical_features
from counterclone.randomness import Prf, generator
from counterclone.targets.local import softmax
from counterclone.testing import check_attack

if TYPE_CHECKING:
    from tests.attacks.conftest import Attacked

N_FEATURES, N_CLASSES, BUDGET = 12, 5, 100
LOWER, UPPER = np.linspace(-1.0, 0.0, N_FEATURES), np.linspace(0.5, 3.0, N_FEATURES)
WEIGHTS = generator(0, "weights").normal(scale=2.0, size=(N_CLASSES, N_FEATURES))
MIDDLE = WEIGHTS @ ((LOWER + UPPER) / 2.0)
POOL = generator(0, "pool").uniform(LOWER, UPPER, (200, N_FEATURES))
UNSEEN = generator(0, "unseen").uniform(LOWER, UPPER, (2000, N_FEATURES))


def logits(inputs: Inputs) -> np.ndarray:
    values: np.ndarray = np.asarray(inputs) @ WEIGHTS.T - MIDDLE
    return values


def target(inputs: Inputs) -> Reply:
    return Reply(softmax(logits(inputs)))


def noisy(inputs: Inputs) -> Reply:
    """Keyed noise on the log-odds, as the policy's, but not quantised."""
    prf = Prf.from_secret("noise")
    noise = np.stack([prf.normals(cell, N_CLASSES) for cell in canonical_features(np.asarray(inputs))])
    return Reply(softmax(logits(inputs) + 2.0 * noise))


def agreement(attacked: Attacked, attack: Attack, answer: object, shown: Surface, budget: int = BUDGET) -> float:
    asked = attacked(attack, answer, budget, pool=POOL, lower=LOWER, upper=UPPER, classes=N_CLASSES,  # type: ignore[arg-type]
                     surface=shown)
    assert asked.surrogate is not None
    assert asked.queries <= budget
    return float((top_labels(asked.surrogate.answer(UNSEEN)) == top_labels(target(UNSEEN).rows)).mean())


def test_laws() -> None:
    check_attack(CellDifference())


@pytest.mark.parametrize("is_open", [True, False])
def test_noise_that_isnt_quantised_cancels(attacked: Attacked, is_open: bool) -> None:
    shown = Surface(name="tried", is_open=is_open)
    asked = attacked(CellDifference(), noisy, BUDGET, pool=POOL, lower=LOWER, upper=UPPER, classes=N_CLASSES,
                     surface=shown)
    assert isinstance(asked.surrogate, Linear)
    apart = asked.surrogate.parameters[:, :-1] - WEIGHTS
    assert np.abs(apart - apart.mean(axis=0)).max() < 1e-6
    own = agreement(attacked, CellDifference(), noisy, shown)
    assert own > agreement(attacked, EquationSolving(), noisy, shown) + 0.02
    assert own > agreement(attacked, Knockoff(), noisy, shown) + 0.02


@pytest.mark.parametrize("name", ["noise", "decimals-2", "reverse-sigmoid"])
def test_where_differences_tell_nothing_it_is_plain(attacked: Attacked, name: str) -> None:
    attacks = CellDifference(), Knockoff()
    own, plain = (agreement(attacked, attack, target, surface(name), 200) for attack in attacks)
    assert own > plain - 0.05

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from counterclone.answers import Reply, top_labels
from counterclone.attacks.averaging import PILOT, Averaging
from counterclone.attacks.knockoff import Knockoff
from counterclone.audit.surfaces import surface
from counterclone.queries import Inputs
from counterclone.randomness import generator
from counterclone.targets.local import softmax
from counterclone.testing import check_attack

if TYPE_CHECKING:
    from tests.attacks.conftest import Asked, Attacked

N_FEATURES, N_CLASSES, BUDGET = 8, 4, 800
LOWER, UPPER = np.full(N_FEATURES, -1.0), np.ones(N_FEATURES)
WEIGHTS = generator(0, "weights").normal(scale=2.0, size=(N_CLASSES, N_FEATURES))
POOL = generator(0, "pool").uniform(LOWER, UPPER, (80, N_FEATURES))
UNSEEN = generator(0, "unseen").uniform(LOWER, UPPER, (2000, N_FEATURES))


def target(inputs: Inputs) -> Reply:
    return Reply(softmax(np.asarray(inputs) @ WEIGHTS.T))


class Fresh:
    """The target with new noise for every answer."""

    def __init__(self, seed: int) -> None:
        self.rng = generator(seed, "noise")

    def __call__(self, inputs: Inputs) -> Reply:
        logits = np.asarray(inputs) @ WEIGHTS.T
        return Reply(softmax(logits + 2.0 * self.rng.normal(size=logits.shape)))


def run(attacked: Attacked, attack: Averaging | Knockoff, answer: object = target, name: str = "full",
        budget: int = BUDGET, seed: int = 0) -> Asked:
    asked = attacked(attack, answer, budget, pool=POOL, lower=LOWER, upper=UPPER,  # type: ignore[arg-type]
                     classes=N_CLASSES, surface=surface(name), seed=seed)
    assert asked.queries == budget
    return asked


def agreement(asked: Asked) -> float:
    assert asked.surrogate is not None
    return float((top_labels(asked.surrogate.answer(UNSEEN)) == top_labels(target(UNSEEN).rows)).mean())


def repeats(asked: Asked) -> int:
    return len(asked.inputs) - len(np.unique(asked.inputs, axis=0))


def test_laws() -> None:
    check_attack(Averaging())


def test_fresh_noise_is_averaged_over_repeats(attacked: Attacked) -> None:
    averaged, plain = ([run(attacked, attack, Fresh(seed), seed=seed) for seed in range(4)]
                       for attack in (Averaging(), Knockoff()))
    assert min(map(repeats, averaged)) > BUDGET / 6
    assert np.mean([*map(agreement, averaged)]) > np.mean([*map(agreement, plain)]) - 0.03


def test_keyed_noise_is_averaged_over_near_duplicates(attacked: Attacked) -> None:
    asked = run(attacked, Averaging(), name="noise")
    assert repeats(asked) == 2 * PILOT  # the first inputs once more, and in the pool
    distances = np.abs(asked.inputs[:, None] - POOL).max(axis=2).min(axis=1)
    assert ((distances > 0.0) & (distances <= 0.02 + 1e-9)).sum() > BUDGET / 6


def test_answers_without_noise_are_asked_for_once(attacked: Attacked) -> None:
    asked = run(attacked, Averaging())
    assert repeats(asked) == 2 * PILOT
    assert agreement(asked) > agreement(run(attacked, Knockoff())) - 0.02


def test_within_the_pool_it_is_plain(attacked: Attacked) -> None:
    asked, plain = (run(attacked, attack, budget=60) for attack in (Averaging(), Knockoff()))
    np.testing.assert_array_equal(asked.inputs, plain.inputs)
    assert agreement(asked) == agreement(plain)

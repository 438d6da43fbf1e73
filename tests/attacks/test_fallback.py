from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from counterclone.answers import Reply, Rows, top_labels
from counterclone.attacks.fallback import Fallback
from counterclone.attacks.knockoff import Knockoff
from counterclone.queries import Inputs
from counterclone.randomness import generator
from counterclone.targets.local import softmax
from counterclone.testing import check_attack

if TYPE_CHECKING:
    from tests.attacks.conftest import Attacked

N_CLASSES, N_FEATURES, BUDGET = 6, 8, 150
LOWER, UPPER = np.full(N_FEATURES, -1.0), np.ones(N_FEATURES)
WEIGHTS = generator(0, "weights").normal(scale=3.0, size=(N_CLASSES, N_FEATURES))
POOL = generator(0, "pool").uniform(LOWER, UPPER, (BUDGET, N_FEATURES))
UNSEEN = generator(0, "unseen").uniform(LOWER, UPPER, (2000, N_FEATURES))


def honest(inputs: Inputs) -> Reply:
    return Reply(softmax(np.asarray(inputs) @ WEIGHTS.T))


def misleading(inputs: Inputs) -> Reply:
    """The true label, with others' probabilities in another input's order."""
    rows = honest(inputs).rows
    others = honest(-7.0 * np.asarray(inputs)[:, ::-1]).rows + 1e-3
    others[np.arange(len(rows)), top_labels(rows)] = 0.0
    released: Rows = 0.45 * others / others.sum(axis=1, keepdims=True)
    released[np.arange(len(rows)), top_labels(rows)] = 0.55
    return Reply(released)


def agreements(attacked: Attacked, answer: object) -> tuple[float, float]:
    found = []
    for attack in (Fallback(), Knockoff()):
        asked = attacked(attack, answer, BUDGET, pool=POOL, lower=LOWER, upper=UPPER, classes=N_CLASSES)  # type: ignore[arg-type]
        assert asked.surrogate is not None
        assert asked.queries == BUDGET
        found.append(float((top_labels(asked.surrogate.answer(UNSEEN)) == top_labels(honest(UNSEEN).rows)).mean()))
    return found[0], found[1]


def test_laws() -> None:
    check_attack(Fallback())


def test_probabilities_that_mislead_are_dropped(attacked: Attacked) -> None:
    fallback, plain = agreements(attacked, misleading)
    assert fallback > plain + 0.1


def test_probabilities_that_teach_are_kept(attacked: Attacked) -> None:
    fallback, plain = agreements(attacked, honest)
    assert fallback > plain - 0.01

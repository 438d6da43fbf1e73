from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from counterclone import plugins
from counterclone.answers import Reply, Rows, top_labels
from counterclone.attacks._linear import LinearLabels
from counterclone.attacks.boundary_solving import BoundarySolving
from counterclone.audit.surfaces import ONLY_LABELS, Surface
from counterclone.errors import ConfigError
from counterclone.queries import Inputs
from counterclone.randomness import generator
from counterclone.testing import check_attack

if TYPE_CHECKING:
    from tests.attacks.conftest import Asked, Attacked

N_FEATURES, N_CLASSES = 10, 4
PARAMETERS = generator(0, "weights").normal(size=(N_CLASSES, N_FEATURES + 1))
PARAMETERS[:, -1] = -PARAMETERS[:, :-1].sum(axis=1) / 2.0  # all classes meet in the middle
LOWER, UPPER = np.zeros(N_FEATURES), np.ones(N_FEATURES)
POOL = generator(0, "pool").uniform(size=(200, N_FEATURES))
UNSEEN = generator(0, "unseen").uniform(size=(5000, N_FEATURES))
OPEN, CLIPPED = (Surface(name=name, policies=({"kind": "labels"},), is_open=name == "open", shows=ONLY_LABELS)
                 for name in ("open", "clipped"))
ENOUGH = 60 * N_CLASSES + 24 * 37


def answer(inputs: Inputs, parameters: Rows = PARAMETERS) -> Reply:
    scores = np.asarray(inputs) @ parameters[:, :-1].T + parameters[:, -1]
    return Reply(np.eye(len(parameters))[scores.argmax(axis=1)])


def solve(attacked: Attacked, budget: int, surface: Surface = OPEN, *, bits: int = 24, target: Any = answer,
          pool: Inputs = POOL, classes: int = N_CLASSES) -> tuple[LinearLabels, Asked]:
    asked = attacked(BoundarySolving(bits=bits), target, budget, pool=pool, lower=LOWER, upper=UPPER,
                     classes=classes, surface=surface)
    assert isinstance(asked.surrogate, LinearLabels)
    return asked.surrogate, asked


def agreement(model: LinearLabels, target: Any = answer) -> float:
    return float((top_labels(model.answer(UNSEEN)) == top_labels(target(UNSEEN).rows)).mean())


def centred(parameters: Rows) -> Rows:
    """Parameters without what labels don't tell: a vector for all classes, and a factor."""
    apart = parameters - parameters.mean(axis=0)
    unit: Rows = apart / np.linalg.norm(apart)
    return unit


def test_laws() -> None:
    check_attack(BoundarySolving())


@pytest.mark.parametrize("surface", [OPEN, CLIPPED], ids=lambda surface: surface.name)
def test_labels_give_the_model_up_to_a_factor(attacked: Attacked, surface: Surface) -> None:
    model, asked = solve(attacked, ENOUGH, surface)
    assert model.is_verified
    assert asked.queries == ENOUGH == 1128
    np.testing.assert_allclose(centred(model.boundaries), centred(PARAMETERS), atol=1e-4)
    assert agreement(model) >= 0.999


def test_a_clipped_domain_is_never_left(attacked: Attacked) -> None:
    _, inside = solve(attacked, ENOUGH, CLIPPED)
    assert inside.inputs.min() >= 0.0
    assert inside.inputs.max() <= 1.0
    _, beyond = solve(attacked, ENOUGH, OPEN)
    assert beyond.inputs.min() < -0.5


def test_it_asks_no_more_than_its_bits_take(attacked: Attacked) -> None:
    _, asked = solve(attacked, 100_000)
    assert asked.queries == ENOUGH
    model, asked = solve(attacked, 100_000, bits=40)
    assert asked.queries == ENOUGH + 16 * 37
    np.testing.assert_allclose(centred(model.boundaries), centred(PARAMETERS), atol=1e-9)


def test_fewer_bits_are_a_copy_that_isnt_called_exact(attacked: Attacked) -> None:
    model, asked = solve(attacked, 60 * N_CLASSES + 7 * 37)
    assert not model.is_verified
    assert asked.queries <= 60 * N_CLASSES + 7 * 37
    assert agreement(model) >= 0.95


def test_with_few_queries_it_retrains_on_all_of_them(attacked: Attacked) -> None:
    model, asked = solve(attacked, 200)
    assert asked.queries == 200
    assert agreement(model) >= 0.85


def test_probabilities_are_taken_for_their_labels(attacked: Attacked) -> None:
    def sure(inputs: Inputs) -> Reply:
        return Reply(0.6 * answer(inputs).rows + 0.4 / N_CLASSES)

    model, asked = solve(attacked, ENOUGH, Surface(name="full"), target=sure)
    of_labels, same = solve(attacked, ENOUGH)
    np.testing.assert_array_equal(asked.inputs, same.inputs)
    np.testing.assert_array_equal(model.boundaries, of_labels.boundaries)


def test_a_class_that_is_never_seen_never_wins(attacked: Attacked) -> None:
    absent = np.vstack([PARAMETERS, [*np.zeros(N_FEATURES), -1e6]])
    model, _ = solve(attacked, 3000, target=lambda inputs: answer(inputs, absent), classes=N_CLASSES + 1)
    assert model.is_verified
    assert model.answer(UNSEEN)[:, -1].max() == 0.0
    assert agreement(model, lambda inputs: answer(inputs, absent)) >= 0.999


def test_a_target_with_one_label_is_copied_as_that_label(attacked: Attacked) -> None:
    only = np.zeros((3, N_FEATURES + 1))
    only[1, -1] = 1.0
    model, asked = solve(attacked, 1500, target=lambda inputs: answer(inputs, only), classes=3)
    assert asked.queries == 1500  # it looked for the others
    assert (top_labels(model.answer(UNSEEN)) == 1).all()


def test_without_a_pool_it_asks_evenly(attacked: Attacked) -> None:
    model, _ = solve(attacked, ENOUGH, pool=np.empty((0, N_FEATURES)))
    assert agreement(model) >= 0.999


def test_a_model_that_isnt_linear_is_never_called_exact(attacked: Attacked) -> None:
    def bent(inputs: Inputs) -> Reply:
        return answer(np.cos(3.0 * np.asarray(inputs)))

    model, _ = solve(attacked, ENOUGH, target=bent)
    assert not model.is_verified


@pytest.mark.parametrize("table", [{"bits": 5}, {"bits": 49}, {"points": 0.5}])
def test_options_have_bounds(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        plugins.build("attacks", {"kind": "boundary_solving", **table}, "here")
    assert msgspec.convert({"bits": 6, "points": 1.0}, BoundarySolving) == BoundarySolving(bits=6, points=1.0)

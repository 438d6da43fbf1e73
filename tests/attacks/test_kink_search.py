from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from counterclone.answers import Reply, top_labels
from counterclone.attacks._hinges import OneLayer
from counterclone.attacks.kink_search import KinkSearch
from counterclone.audit.surfaces import Surface
from counterclone.queries import Features, Inputs
from counterclone.randomness import generator
from counterclone.targets.local import softmax
from counterclone.testing import check_attack

if TYPE_CHECKING:
    from tests.attacks.conftest import Asked, Attacked

N_FEATURES = 8
LOWER, UPPER = np.linspace(-3.0, 0.0, N_FEATURES), np.linspace(0.5, 40.0, N_FEATURES)
POOL = generator(0, "pool").uniform(LOWER, UPPER, (150, N_FEATURES))
UNSEEN = generator(0, "unseen").uniform(LOWER, UPPER, (2000, N_FEATURES))
PROBABILITIES = Surface(name="probabilities", shows=frozenset({"labels", "scores"}))
FULL = Surface(name="full")
CLOSED = Surface(name="closed", is_open=False)
SINGLE = Surface(name="single", float_bits=32)

Target = Callable[[Inputs], Reply]


def relu(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(values, 0.0)


def network(*widths: int, bend: Callable[[Any], Any] = relu, n_features: int = N_FEATURES) -> Target:
    """A random network whose inputs lie in the range; the last width is the number of classes."""
    rng = generator(0, "network", *map(str, widths))
    sizes = list(zip((n_features, *widths), widths, strict=False))
    weights = [rng.normal(scale=1.5 / np.sqrt(size[0]), size=size) for size in sizes]
    biases = [rng.normal(scale=0.3, size=width) for width in widths]
    centre, half = (LOWER + UPPER) / 2.0, (UPPER - LOWER) / 2.0

    def answer(inputs: Inputs) -> Reply:
        values = (np.asarray(inputs) - centre[:n_features]) / half[:n_features]
        for place, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            values = (bend(values) if place else values) @ weight + bias
        return Reply(softmax(4.0 * values), 4.0 * values)

    return answer


def search(attacked: Attacked, target: Target, budget: int = 5000, surface: Surface = PROBABILITIES, *,
           upper: Features = UPPER) -> Asked:
    classes = target(POOL).rows.shape[1]
    return attacked(KinkSearch(), target, budget, pool=np.minimum(POOL, upper), lower=LOWER, upper=upper,
                    classes=classes, surface=surface)


def error(asked: Asked, target: Target, inputs: Features = UNSEEN) -> float:
    """The largest difference of a probability."""
    assert asked.surrogate is not None
    return float(np.abs(asked.surrogate.answer(inputs) - target(inputs).rows).max())


def agreement(asked: Asked, target: Target) -> float:
    assert asked.surrogate is not None
    return float((top_labels(asked.surrogate.answer(UNSEEN)) == top_labels(target(UNSEEN).rows)).mean())


def is_verified(asked: Asked) -> bool:
    found: bool = asked.surrogate.is_verified  # type: ignore[union-attr]
    return found


def test_laws() -> None:
    check_attack(KinkSearch())


@pytest.mark.parametrize("surface", [PROBABILITIES, CLOSED, FULL], ids=lambda surface: surface.name)
@pytest.mark.parametrize("widths", [(12, 4), (12, 2), (40, 5)], ids=str)
def test_a_network_with_one_layer_is_copied_exactly(
        attacked: Attacked, widths: tuple[int, ...], surface: Surface) -> None:
    target = network(*widths)
    asked = search(attacked, target, surface=surface)
    assert is_verified(asked)
    assert error(asked, target) < 1e-9
    assert asked.queries < 700 + 50 * widths[0]


def test_it_needs_no_more_neurons_than_there_are(attacked: Attacked) -> None:
    asked = search(attacked, network(12, 4))
    assert isinstance(asked.surrogate, OneLayer)
    assert len(asked.surrogate.hinges) <= 12


def test_logits_are_found_up_to_a_constant_of_the_row(attacked: Attacked) -> None:
    target = network(12, 4)
    asked = search(attacked, target)
    assert isinstance(asked.surrogate, OneLayer)
    logits = target(UNSEEN).logits
    assert logits is not None
    centred = logits - logits.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(asked.surrogate.logits(UNSEEN), centred, atol=1e-8)


def test_a_linear_model_has_no_kinks(attacked: Attacked) -> None:
    target = network(3)
    asked = search(attacked, target)
    assert is_verified(asked)
    assert error(asked, target) < 1e-12
    assert asked.queries < 500


def test_a_closed_range_is_never_left(attacked: Attacked) -> None:
    asked = search(attacked, network(12, 4), surface=CLOSED)
    room = 1e-9 * (UPPER - LOWER)
    assert (asked.inputs >= LOWER - room).all()
    assert (asked.inputs <= UPPER + room).all()


def test_a_feature_with_one_value_is_left_alone_in_a_closed_range(attacked: Attacked) -> None:
    upper = UPPER.copy()
    upper[3] = LOWER[3]
    target = network(12, 4)
    asked = search(attacked, target, surface=CLOSED, upper=upper)
    assert is_verified(asked)
    assert (asked.inputs[:, 3] == LOWER[3]).all()
    assert error(asked, target, np.minimum(UNSEEN, upper)) < 1e-9


def test_single_precision_leaves_a_near_copy_that_says_so(attacked: Attacked) -> None:
    target = network(12, 4)
    asked = search(attacked, target, surface=SINGLE)
    assert not is_verified(asked)
    assert agreement(asked, target) > 0.99


@pytest.mark.parametrize(
    "target", [network(12, 12, 4), network(12, 4, bend=np.tanh), network(12, 4, bend=np.floor)],
    ids=["deep", "smooth", "steps"])
def test_what_it_cannot_copy_it_does_not_claim(attacked: Attacked, target: Target) -> None:
    asked = search(attacked, target, 3000)
    assert not is_verified(asked)
    assert agreement(asked, target) > 0.6


@pytest.mark.parametrize("table", [
    {"kind": "rounding", "decimals": 2}, {"kind": "labels"}, {"kind": "noise", "scale": 0.5},
    {"kind": "truncation", "top_k": 2}], ids=lambda table: table["kind"])
def test_policies_leave_a_student(attacked: Attacked, table: dict[str, Any]) -> None:
    target = network(12, 4)
    asked = search(attacked, target, 2000, Surface(name="guarded", policies=(table,)))
    assert not is_verified(asked)
    assert agreement(asked, target) > 0.6


def test_a_network_that_the_budget_does_not_pay_for_is_learnt_from_the_pool(attacked: Attacked) -> None:
    target = network(60, 4)
    asked = search(attacked, target, 900)
    pool = {row.tobytes() for row in np.round(POOL, 9)}
    assert not is_verified(asked)
    assert sum(row.tobytes() in pool for row in np.round(asked.inputs, 9)) == len(POOL)


@pytest.mark.parametrize("budget", [1, 3, 50, 150, 400])
def test_small_budgets_are_enough_for_something(attacked: Attacked, budget: int) -> None:
    target = network(12, 4)
    asked = search(attacked, target, budget)
    assert asked.queries >= min(budget, len(POOL))
    assert agreement(asked, target) > (0.6 if budget >= 50 else 0.1)
    assert not is_verified(asked)

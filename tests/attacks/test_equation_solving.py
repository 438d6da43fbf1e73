from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from counterclone.answers import Reply, Rows, top_labels
from counterclone.attacks._linear import Linear, log_rows
from counterclone.attacks.equation_solving import EquationSolving
from counterclone.audit.surfaces import Surface
from counterclone.queries import Inputs
from counterclone.randomness import generator
from counterclone.testing import check_attack

if TYPE_CHECKING:
    from tests.attacks.conftest import Asked, Attacked

N_FEATURES, N_CLASSES = 12, 5
WEIGHTS = generator(0, "weights").normal(scale=1.5, size=(N_CLASSES, N_FEATURES + 1))
LOWER, UPPER = np.linspace(-3.0, 0.0, N_FEATURES), np.linspace(0.5, 40.0, N_FEATURES)
SCALED = WEIGHTS.copy()
SCALED[:, :-1] /= UPPER - LOWER
POOL = generator(0, "pool").uniform(LOWER, UPPER, (80, N_FEATURES))
UNSEEN = generator(0, "unseen").uniform(LOWER, UPPER, (2000, N_FEATURES))


def target(parameters: Rows = SCALED, *, one_vs_rest: bool = False) -> Any:
    def answer(inputs: Inputs) -> Reply:
        logits = np.asarray(inputs) @ parameters[:, :-1].T + parameters[:, -1]
        return Reply(np.exp(log_rows(logits, one_vs_rest=one_vs_rest)))

    return answer


def solve(attacked: Attacked, budget: int, *policies: Mapping[str, Any], parameters: Rows = SCALED,
          one_vs_rest: bool = False, float_bits: int = 64) -> tuple[Linear, Asked]:
    surface = Surface(name="tried", policies=policies, float_bits=float_bits)
    asked = attacked(EquationSolving(), target(parameters, one_vs_rest=one_vs_rest), budget, pool=POOL,
                     lower=LOWER, upper=UPPER, classes=len(parameters), surface=surface)
    assert isinstance(asked.surrogate, Linear)
    return asked.surrogate, asked


def error(model: Linear, parameters: Rows = SCALED) -> float:
    """The largest difference of a weight times its feature's range, defined up to one vector for all classes."""
    apart = model.parameters - parameters
    apart -= apart.mean(axis=0)
    return float(np.abs(apart[:, :-1] * (UPPER - LOWER)).max())


def agreement(model: Linear, parameters: Rows = SCALED) -> float:
    own = target(parameters, one_vs_rest=model.one_vs_rest)(UNSEEN).rows
    return float((top_labels(own) == top_labels(model.answer(UNSEEN))).mean())


def test_laws() -> None:
    check_attack(EquationSolving())


def test_as_many_queries_as_unknowns_of_a_class_give_the_model(attacked: Attacked) -> None:
    model, asked = solve(attacked, N_FEATURES + 1)
    assert error(model) < 1e-10
    assert not model.is_verified  # nothing was left to hold back
    assert asked.queries == N_FEATURES + 1


@pytest.mark.parametrize(("float_bits", "bound"), [(64, 1e-10), (32, 1e-4)])
def test_it_stops_where_held_out_queries_agree(attacked: Attacked, float_bits: int, bound: float) -> None:
    model, asked = solve(attacked, 10_000, float_bits=float_bits)
    assert model.is_verified
    assert error(model) < bound
    assert asked.queries == N_FEATURES + 1 + 10


def test_a_binary_model_is_solved_on_both_sides_of_one_half(attacked: Attacked) -> None:
    parameters = np.vstack([np.zeros(N_FEATURES + 1), 4.0 * SCALED[0]])
    model, _ = solve(attacked, 100, parameters=parameters)
    assert model.is_verified
    assert error(model, parameters) < 1e-6


def test_one_vs_rest_is_told_from_softmax(attacked: Attacked) -> None:
    model, asked = solve(attacked, 10_000, one_vs_rest=True)
    assert model.one_vs_rest
    assert model.is_verified
    np.testing.assert_allclose(model.answer(UNSEEN), target(one_vs_rest=True)(UNSEEN).rows, atol=1e-8)
    assert asked.queries < 2 * (N_FEATURES + 1) + 10


@pytest.mark.parametrize(("policies", "budget", "least"), [
    ([{"kind": "rounding", "decimals": 3}], 60, 0.98),
    ([{"kind": "rounding", "decimals": 2}], 130, 0.97),
    ([{"kind": "rounding", "decimals": 1}], 300, 0.93),
    ([{"kind": "rounding", "significant_bits": 6}], 130, 0.97),
    ([{"kind": "truncation", "top_k": 3}], 130, 0.99),
    ([{"kind": "truncation", "top_k": 2, "rest": "drop"}], 130, 0.99),
    ([{"kind": "truncation", "top_k": 1}], 300, 0.97),
    ([{"kind": "noise", "scale": 0.5}, {"kind": "rounding", "decimals": 2}], 300, 0.93),
], ids=["3 decimals", "2 decimals", "1 decimal", "bits", "top 3", "top 2, dropped", "top 1", "noise"])
def test_what_is_hidden_costs_queries(attacked: Attacked, policies: Sequence[Mapping[str, Any]], budget: int,
                                      least: float) -> None:
    model, asked = solve(attacked, budget, *policies)
    assert agreement(model) >= least
    assert asked.queries <= budget


def test_more_decimals_are_worth_more(attacked: Attacked) -> None:
    errors = [error(solve(attacked, 130, {"kind": "rounding", "decimals": decimals})[0])
              for decimals in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True)


def test_where_answers_are_saturated_it_asks_nearer_to_the_pool(attacked: Attacked) -> None:
    steep = 60.0 * SCALED[:2]
    logits = UNSEEN @ (steep[0] - steep[1])[:-1] + steep[0, -1] - steep[1, -1]
    pool = UNSEEN[np.abs(logits).argsort()[:80]]  # near the boundary, as inputs of a trained model are
    asked = attacked(EquationSolving(), target(steep), 400, pool=pool, lower=LOWER, upper=UPPER, classes=2,
                     surface=Surface(name="tried", policies=({"kind": "rounding", "decimals": 3},)))
    second = np.sort(asked.rows, axis=1)[:, -2]
    assert (second[:8] > 0.002).mean() < 0.5 < (second[-50:] > 0.002).mean()
    assert isinstance(asked.surrogate, Linear)
    assert agreement(asked.surrogate, steep) >= 0.98


def test_a_model_that_isnt_linear_is_never_called_exact(attacked: Attacked) -> None:
    def bent(inputs: Inputs) -> Reply:
        squares = ((np.asarray(inputs) - LOWER) / (UPPER - LOWER))**2
        return Reply(np.exp(log_rows(squares @ WEIGHTS[:, :-1].T)))

    asked = attacked(EquationSolving(), bent, 300, pool=POOL, lower=LOWER, upper=UPPER, classes=N_CLASSES)
    assert isinstance(asked.surrogate, Linear)
    assert not asked.surrogate.is_verified
    assert asked.queries == 300


def test_a_feature_that_never_varied_gets_room_where_the_domain_is_open(attacked: Attacked) -> None:
    lower, upper = LOWER.copy(), UPPER.copy()
    lower[3] = upper[3] = 1.0
    for is_open in (True, False):
        asked = attacked(EquationSolving(), target(), 50, pool=POOL, lower=lower, upper=upper, classes=N_CLASSES,
                         surface=Surface(name="tried", is_open=is_open))
        inside = np.all((asked.inputs >= lower - 1e-9) & (asked.inputs <= upper + 1e-9))
        assert inside == (not is_open)
        assert isinstance(asked.surrogate, Linear)
        assert (np.ptp(asked.surrogate.parameters[:, 3]) > 1e-3) == is_open

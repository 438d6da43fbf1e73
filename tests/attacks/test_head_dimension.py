from __future__ import annotations

import asyncio

import numpy as np
import pytest

from counterclone.attacks._head import Head, centred, spectrum
from counterclone.attacks.head_dimension import HeadDimension
from counterclone.attacks.head_recovery import HeadRecovery
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.protocols import Attack, Prior
from counterclone.randomness import generator
from counterclone.testing import check_attack
from counterclone.testing.language_models import Api, LanguageModel

MODEL = LanguageModel(300, 16)
POOL = [" ".join(f"w{word}" for word in generator(0, "pool", i).integers(0, 500, 6)) for i in range(120)]


def run(attack: Attack, api: Api, budget: int, *shown: str) -> tuple[Head | None, Meter]:
    prior = Prior(budget=budget, pool=POOL, classes=300, lower=np.empty(0), upper=np.empty(0),
                  shows=frozenset({"labels", *shown}))
    meter = Meter(budget)
    found = asyncio.run(drive(attack.run(prior, generator(1, "attack")), api, meter))
    assert found is None or isinstance(found, Head)
    return found, meter


def error(head: Head) -> float:
    """Of the last layer, up to a linear map of its columns and the mean, which logits don't show."""
    true = MODEL.head - MODEL.head.mean(axis=0)
    mapped = head.matrix @ np.linalg.lstsq(head.matrix, true, rcond=None)[0]
    return float(np.linalg.norm(mapped - true) / np.linalg.norm(true))


def test_it_keeps_the_laws() -> None:
    check_attack(HeadDimension())


@pytest.mark.parametrize(("api", "most"), [(Api(MODEL), 1e-13), (Api(MODEL, float_bits=32), 1e-7),
                                           (Api(MODEL, decimals=2), 2e-3)], ids=["float64", "float32", "decimals"])
def test_a_last_layer_is_recovered_as_exactly_as_it_is_shown(api: Api, most: float) -> None:
    found, meter = run(HeadRecovery(), api, 100, "logits")
    assert found is not None
    assert found.dimension == 16
    assert found.is_verified
    assert error(found) < most
    assert meter.queries == 100


def test_the_dimension_takes_twice_as_many_prompts_and_no_more() -> None:
    found, meter = run(HeadDimension(), Api(MODEL, float_bits=32), 1000, "logits")
    assert found is not None
    assert (found.dimension, meter.queries) == (16, 32)


def test_too_few_prompts_and_too_much_noise_are_told() -> None:
    few, _ = run(HeadDimension(), Api(MODEL), 16, "logits")
    assert few is not None
    assert few.dimension is None
    assert few.is_verified is None
    logits = MODEL.logits(POOL)
    noise = generator(0, "noise").standard_normal(logits.shape)
    assert spectrum(logits + 0.1 * noise).rank == 16
    assert not spectrum(logits + 3.0 * noise).is_found


def test_log_probabilities_show_what_logits_show() -> None:
    logits = MODEL.logits(POOL)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert np.linalg.matrix_rank(logs) == 17  # the sum adds a direction
    np.testing.assert_allclose(centred(logs), centred(logits), atol=1e-12)
    assert spectrum(logs).rank == spectrum(logits).rank == 16


def test_one_direction_that_is_much_larger_hides_none() -> None:
    head = MODEL.head * np.array([1000.0] + [1.0] * 15)
    states = generator(0, "states").standard_normal((100, 16))
    found = spectrum(np.round(states @ head.T, 1))
    assert found.rank == 16
    assert found.is_found


def test_a_model_without_a_narrow_layer_has_no_dimension() -> None:
    assert not spectrum(generator(0, "noise").standard_normal((200, 300))).is_found

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from counterclone.attacks._head import centred
from counterclone.attacks.logit_recovery import LIFT, LogitRecovery
from counterclone.budgets import Meter
from counterclone.driver import as_bytes, drive
from counterclone.protocols import Prior
from counterclone.queries import Inputs, Prompt
from counterclone.randomness import generator
from counterclone.testing import check_attack
from counterclone.testing.language_models import Api, LanguageModel

MODEL = LanguageModel(203, 6)
POOL = [f"a{i} b{i % 7} c{i % 11}" for i in range(40)]


def prior(budget: int) -> Prior:
    return Prior(budget=budget, pool=POOL, classes=203, lower=np.empty(0), upper=np.empty(0),
                 shows=frozenset({"labels", "bias"}))


def rows(attack: LogitRecovery, api: Api, budget: int) -> tuple[list[Inputs], Any]:
    """The batches, and the logits that the attack read of its first prompt."""
    asking = attack._row(POOL[0], 203)
    batches: list[Inputs] = [next(asking)]
    try:
        while sum(map(len, batches)) <= budget:
            batches.append(asking.send(api.reply(batches[-1])))
    except StopIteration as end:
        return batches, end.value
    raise AssertionError("it asked more than its budget")


def test_it_keeps_the_laws() -> None:
    check_attack(LogitRecovery())


@pytest.mark.parametrize(("top", "calls"), [(5, 52), (2, 203), (20, 12)])
def test_all_logits_of_a_prompt_take_one_call_for_each_few_tokens(top: int, calls: int) -> None:
    batches, found = rows(LogitRecovery(top=top), Api(MODEL, top=top), calls)
    assert sum(map(len, batches)) == calls
    true = MODEL.logits(POOL[:1])
    np.testing.assert_allclose(centred(found[None]), centred(true), atol=1e-12)


def test_an_api_that_shows_fewer_than_asked_for_takes_more_calls() -> None:
    batches, found = rows(LogitRecovery(top=20), Api(MODEL, top=5), 52)
    assert sum(map(len, batches)) == 52
    np.testing.assert_allclose(centred(found[None]), centred(MODEL.logits(POOL[:1])), atol=1e-12)


@pytest.mark.parametrize("bits", [8, 16])
def test_labels_alone_are_halved_down(bits: int) -> None:
    batches, found = rows(LogitRecovery(bits=bits), Api(MODEL, top=0), 1 + bits * 202)
    assert sum(map(len, batches)) == 1 + bits * 202
    gaps = np.abs(found - (MODEL.logits(POOL[:1]) - MODEL.logits(POOL[:1]).max()))
    assert gaps.max() <= LIFT / 2**bits


def test_the_last_layer_follows() -> None:
    budget = 30 * 52
    meter = Meter(budget)
    found = asyncio.run(drive(LogitRecovery().run(prior(budget), generator(0, "attack")), Api(MODEL), meter))
    assert found is not None
    assert found.dimension == 6  # type: ignore[attr-defined]
    assert meter.queries == budget
    assert meter.repeats == 0


def test_where_a_bias_changes_nothing_there_is_no_dimension() -> None:
    api = Api(MODEL, takes_bias=False)
    budget = 30 * 52
    found = asyncio.run(drive(LogitRecovery().run(prior(budget), generator(0, "attack")), api, Meter(budget)))
    assert found is None or found.dimension is None  # type: ignore[attr-defined]


def test_prompts_that_differ_in_their_settings_are_other_queries() -> None:
    same: list[str] = [Prompt("a", {3: 1.0, 1: 2.0}, 5), Prompt("a", {1: 2.0, 3: 1.0}, 5)]
    others: list[str] = [Prompt("a", {1: 2.0}, 5), Prompt("a", {1: 2.0}), "a"]
    assert len(set(as_bytes(same))) == 1
    assert len(set(as_bytes([*same, *others]))) == 4

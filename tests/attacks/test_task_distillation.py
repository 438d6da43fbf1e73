from __future__ import annotations

import asyncio
from importlib.util import find_spec

import numpy as np
import pytest

from counterclone.answers import Reply
from counterclone.attacks.task_distillation import END, Scribe, TaskDistillation
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.protocols import Prior
from counterclone.queries import Inputs
from counterclone.randomness import generator
from counterclone.testing import check_attack
from counterclone.testing.imitations import toy_targets

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="the extra `deep` isn't installed")
DESK = toy_targets()[0]


@needs_torch
def test_it_keeps_the_laws() -> None:
    check_attack(TaskDistillation(tokens=200_000))


@needs_torch
def test_a_table_is_learnt_whole_and_paid_by_tokens() -> None:
    class Api:
        async def query(self, inputs: Inputs) -> Reply:
            return DESK.reply(inputs)

    meter = Meter(400)
    copy = asyncio.run(drive(TaskDistillation().run(DESK.prior(400), generator(0, "attack")), Api(), meter))
    assert isinstance(copy, Scribe)
    unseen = list(DESK.evaluate)
    told = DESK.reply(unseen).texts or ()
    assert np.mean([one == other for one, other in zip(copy.write(unseen), told, strict=True)]) > 0.9
    assert meter.queries == 400
    assert meter.numbers > 400


@needs_torch
def test_texts_are_read_from_their_end_and_written_to_theirs() -> None:
    scribe = Scribe(["a b c", "d"], ["x y", ""], generator(0, "scribe"))
    assert scribe.asked(["c", "a b c"]).tolist() == [[0, 0, 5, 1], [3, 4, 5, 1]]
    assert scribe.asked(["a b a b c"]).tolist() == [[3, 4, 5, 1]]
    assert scribe.asked(["new"]).tolist() == [[0, 0, 0, 1]]
    assert scribe.answered(["x", ""])[:, 1:].tolist() == [[END, END], [END, END]]


@needs_torch
def test_an_unknown_prompt_gets_an_answer() -> None:
    prior = Prior(budget=3, pool=["a b", "c"], classes=0, lower=np.empty(0), upper=np.empty(0),
                  shows=frozenset({"texts"}))

    class Api:
        async def query(self, inputs: Inputs) -> Reply:
            return Reply(np.empty((len(inputs), 0)), texts=["yes" for _ in inputs])

    copy = asyncio.run(drive(TaskDistillation().run(prior, generator(0, "attack")), Api(), Meter(3)))
    assert isinstance(copy, Scribe)
    assert copy.write(["never seen before, and much longer than any other", ""]) == ["yes", "yes"]

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from counterclone.answers import Reply
from counterclone.errors import Refused
from counterclone.policies.labels import Labels
from counterclone.policies.noise import Noise
from counterclone.policies.rounding import Rounding
from counterclone.queries import Inputs
from counterclone.randomness import Prf
from counterclone.rules.range import Range
from counterclone.rules.snap import Snap
from counterclone.targets.guarded import Guarded

NOISE = Prf.from_secret("a secret of the tests")
EVERYTHING = frozenset({"labels", "scores", "logits", "ids"})


class Model:
    """Probabilities, logits and ids of the first feature."""

    def __init__(self) -> None:
        self.asked: list[Inputs] = []

    async def query(self, inputs: Inputs) -> Reply:
        self.asked.append(inputs)
        first = np.array([len(row) / 8 if isinstance(row, str) else row[0] for row in inputs])
        rows = np.column_stack([first, 1.0 - first])
        return Reply(rows, rows * 10.0, np.arange(len(inputs)))


def ask(inputs: Any, *policies: Any, **options: Any) -> Reply:
    return asyncio.run(Guarded(options.pop("model", Model()), policies, NOISE, **options).query(inputs))


INPUTS = np.array([[1 / 3, 5.0], [0.8125, 5.0]])


def test_policies_are_the_guards() -> None:
    assert ask(INPUTS, Rounding(decimals=1)).rows.tolist() == [[0.3, 0.7], [0.8, 0.2]]
    assert ask(INPUTS, Rounding(decimals=1), Labels()).rows.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_noise_is_that_of_the_query() -> None:
    policies = Noise(scale=1.0), Rounding(decimals=3)
    one, again = (ask(INPUTS, *policies).rows for _ in range(2))
    assert one.tolist() == again.tolist()
    assert one.tolist() != ask(INPUTS).rows.tolist()
    nearly = INPUTS * (1 + 1e-9)  # canonically the same
    assert ask(nearly, *policies).rows.tolist() == one.tolist()


@pytest.mark.parametrize(("bits", "kind"), [(64, np.float64), (32, np.float32), (16, np.float16)])
def test_numbers_are_as_wide_as_they_are_sent(bits: int, kind: Any) -> None:
    reply = ask(INPUTS, float_bits=bits, shows=EVERYTHING)
    assert reply.rows.dtype == np.float64
    assert reply.rows[0, 0] == kind(1 / 3)
    assert reply.logits is not None
    assert reply.logits[0, 0] == kind(10.0 * (1 / 3))


@pytest.mark.parametrize(("shows", "policies", "expected"), [
    (EVERYTHING, (), (True, True)), (frozenset({"labels", "scores"}), (), (False, False)),
    (frozenset({"ids"}), (), (False, True)), (EVERYTHING, (Rounding(decimals=2),), (False, False)),
], ids=["all", "scores", "ids", "behind a policy"])
def test_logits_and_ids_are_shown_where_no_policy_is(shows: frozenset[str], policies: Any, expected: Any) -> None:
    reply = ask(INPUTS, *policies, shows=shows)
    assert (reply.logits is not None, reply.ids is not None) == expected


def test_rules_change_or_refuse_what_comes_in() -> None:
    model = Model()
    ask(INPUTS, model=model, rules=[Range(low=0, high=1, mode="clip"), Snap(step=0.5)])
    assert np.asarray(model.asked[0]).tolist() == [[0.5, 1.0], [1.0, 1.0]]
    with pytest.raises(Refused, match="feature 1 of row 0 is 5, expected 0 to 1"):
        ask(INPUTS, model=model, rules=[Range(low=0, high=1)])
    assert len(model.asked) == 1


def test_texts_pass_rules_as_they_are() -> None:
    model = Model()
    reply = ask(["ab", "abcd"], model=model, rules=[Range(low=0, high=1)])
    assert model.asked == [["ab", "abcd"]]
    assert reply.rows.tolist() == [[0.25, 0.75], [0.5, 0.5]]

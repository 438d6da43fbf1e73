from __future__ import annotations

import itertools
from typing import Any, ClassVar

import numpy as np
import pytest

from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Making, Prior
from counterclone.randomness import Generator
from counterclone.testing import check_attack
from counterclone.testing.imitations import check_imitation, toy_targets

RUNS = itertools.count()


class Remembering(Spec, frozen=True):
    """Remember what prompts with the same first and third word were answered."""

    fault: str = ""

    needs: ClassVar[frozenset[str]] = frozenset({"text", "texts"})
    is_exact: ClassVar[bool] = False

    def run(self, prior: Prior, rng: Generator) -> Making:
        known: dict[tuple[str, ...], str] = {}
        pool: Any = prior.pool
        try:
            for i in itertools.count():
                text = pool[(i + next(RUNS)) % len(pool)] if self.fault == "draws" else pool[i % len(pool)]
                batch: Any = {"empty": [], "array": np.zeros((1, 4))}.get(self.fault, [text])
                reply = yield batch
                known[_key(text)] = (reply.texts or [""])[0]
        except BudgetExhausted:
            if self.fault == "lets through":
                raise
            if self.fault == "asks on":
                yield pool[:1]
        return None if self.fault == "nothing" else Memory(known, self.fault)


class Memory:
    def __init__(self, known: dict[tuple[str, ...], str], fault: str) -> None:
        self._known, self._fault = known, fault

    def write(self, inputs: list[str]) -> list[str]:
        if self._fault == "constant":
            return ["to-alpha yes"] * len(inputs)
        texts = [self._known.get(_key(text), "") for text in inputs]
        if self._fault == "whim":
            return [f"{text}{next(RUNS)}" for text in texts]
        return texts[1:] if self._fault == "short" else texts


def _key(text: str) -> tuple[str, ...]:
    return tuple(text.split()[:3:2])


def test_a_good_imitation_passes_by_either_name() -> None:
    check_imitation(Remembering())
    check_attack(Remembering())


@pytest.mark.parametrize(("fault", "law"), [
    ("empty", "a batch is inputs as the target takes them, at least one"),
    ("array", "a batch is inputs as the target takes them, at least one"),
    ("asks on", "it asks nothing after BudgetExhausted"),
    ("lets through", "thrown BudgetExhausted, it returns what it has"),
    ("draws", "the same seed asks the same queries"),
    ("short", "a copy answers as its target does"),
    ("whim", "a copy is pure"),
    ("constant", "it copies the toy"),
    ("nothing", "it copies the toy"),
])
def test_a_broken_imitation_is_told_its_law(fault: str, law: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_imitation(Remembering(fault=fault))
    assert f"Remembering(fault='{fault}') breaks the law '{law}'" in str(caught.value)


def test_the_toys_are_the_same_at_every_call() -> None:
    for toy, again in zip(toy_targets(), toy_targets(), strict=True):
        assert np.array_equal(toy.pool, again.pool)
        one, other = toy.reply(toy.evaluate), again.reply(again.evaluate)
        assert (one.texts, other.texts) == (None, None) or one.texts == other.texts
        assert one.vectors is None or np.array_equal(one.vectors, np.asarray(other.vectors))

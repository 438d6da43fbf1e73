from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

from counterclone.answers import Rows, top_labels
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Attack, Prior, Surrogate
from counterclone.queries import Inputs
from counterclone.randomness import Generator
from counterclone.testing import check_attack, example_targets

RUNS = itertools.count()


class Nearest(NamedTuple):
    """Answers as the nearest query was answered."""

    inputs: Any
    rows: Rows
    fault: str = ""

    def answer(self, inputs: Inputs) -> Rows:
        own, others = vectors(inputs), vectors(self.inputs)
        rows: Rows = self.rows[((own[:, None] - others)**2).sum(axis=2).argmin(axis=1)]
        return ANSWERS[self.fault](rows, inputs) if self.fault in ANSWERS else rows


def vectors(inputs: Inputs) -> Rows:
    if isinstance(inputs, np.ndarray):
        return inputs
    return np.array([[text.count(letter) for letter in "abdegmot"] for text in inputs], dtype=np.float64)


def overwritten(rows: Rows, inputs: Any) -> Rows:
    inputs[0] = inputs[1]
    return rows


ANSWERS: dict[str, Callable[[Rows, Any], Rows]] = {
    "short": lambda rows, inputs: rows[1:],
    "logits": lambda rows, inputs: np.log(rows + 0.1),
    "nan": lambda rows, inputs: rows * np.nan,
    "draws": lambda rows, inputs: np.roll(rows, next(RUNS), axis=1),
    "batch": lambda rows, inputs: rows if len(rows) > 1 else np.roll(rows, 1, axis=1),
    "overwrites": overwritten,
    "constant": lambda rows, inputs: np.eye(rows.shape[1])[np.zeros(len(rows), dtype=np.intp)],
}
BATCHES: dict[str, Callable[[Any], Any]] = {
    "empty": lambda inputs: inputs[:0],
    "list": list,
    "whole": lambda inputs: np.zeros((len(inputs), 4), dtype=np.int64),
    "wide": lambda inputs: np.ones((3, 5)),
    "endless": lambda inputs: np.full((3, 4), np.inf),
    "texts": lambda inputs: [1, 2],
    "draws": lambda inputs: np.roll(inputs, next(RUNS), axis=0),
}


class Copying(Spec, frozen=True):
    """Ask the pool and answer as the nearest."""

    fault: str = ""
    batches: str = ""

    needs: ClassVar[frozenset[str]] = frozenset({"numbers"})
    is_exact: ClassVar[bool] = False

    def run(self, prior: Prior, rng: Generator) -> Asking:
        inputs, rows = [], [np.empty((0, prior.classes))]
        try:
            for i in itertools.count():
                some = prior.pool[:prior.budget] if i == 0 else prior.pool[:10]
                if self.batches:
                    some = BATCHES[self.batches](some)
                reply = yield some
                inputs += list(some)
                rows.append(reply.rows)
                if self.fault == "crash" and len(inputs) > 60:
                    raise ZeroDivisionError("by nothing")
        except BudgetExhausted:
            if self.fault == "lets through":
                raise
            if self.fault == "asks on":
                yield prior.pool[:1]
        return self.built(inputs, np.concatenate(rows))

    def built(self, inputs: list[Any], rows: Rows) -> Surrogate | None:
        if self.fault == "nothing" or not inputs or (self.fault == "draws whether" and next(RUNS) % 2):
            return None
        return Nearest(inputs if isinstance(inputs[0], str) else np.array(inputs), rows, self.fault)


class Reading(Copying, frozen=True):
    """The same for texts."""

    needs: ClassVar[frozenset[str]] = frozenset({"text"})


class Unassuming(Copying, frozen=True):
    """The same for whatever comes."""

    needs: ClassVar[frozenset[str]] = frozenset()


class Mute(Copying, frozen=True):
    """An attack that doesn't say what it needs."""

    needs: ClassVar[frozenset[str]] = frozenset({"gold"})


class Greedy(Copying, frozen=True):
    """An attack that needs more than any target shows."""

    needs: ClassVar[frozenset[str]] = frozenset({"text", "ids"})


class Shy(Copying, frozen=True):
    """An attack that doesn't say whether it is exact."""

    is_exact: ClassVar[bool] = "perhaps"  # type: ignore[assignment]


@pytest.mark.parametrize("attack", [Copying(), Reading(), Unassuming()], ids=lambda attack: type(attack).__name__)
def test_good_attacks_pass(attack: Attack) -> None:
    check_attack(attack, seed=2)


@pytest.mark.parametrize(("attack", "law"), [
    (Copying(batches="empty"), "a batch is inputs as the target takes them, at least one"),
    (Copying(batches="list"), "a batch is inputs as the target takes them, at least one"),
    (Copying(batches="whole"), "a batch is inputs as the target takes them, at least one"),
    (Copying(batches="wide"), "a batch is inputs as the target takes them, at least one"),
    (Copying(batches="endless"), "a batch is inputs as the target takes them, at least one"),
    (Reading(batches="texts"), "a batch is inputs as the target takes them, at least one"),
    (Copying(batches="draws"), "the same seed asks the same queries"),
    (Copying(fault="asks on"), "it asks nothing after BudgetExhausted"),
    (Copying(fault="lets through"), "thrown BudgetExhausted, it returns what it has"),
    (Copying(fault="crash"), "it ends with a surrogate or None"),
    (Copying(fault="short"), "a surrogate answers with probabilities"),
    (Copying(fault="logits"), "a surrogate answers with probabilities"),
    (Copying(fault="nan"), "a surrogate answers with probabilities"),
    (Copying(fault="overwrites"), "a surrogate is pure"),
    (Copying(fault="draws"), "a surrogate is pure"),
    (Copying(fault="batch"), "a surrogate is pure"),
    (Copying(fault="draws whether"), "the same seed builds the same surrogate"),
    (Copying(fault="constant"), "it beats the majority label on a target that fits"),
    (Copying(fault="nothing"), "it beats the majority label on a target that fits"),
    (Mute(), "an attack says what it needs"),
    (Greedy(), "an attack says what it needs"),
    (Shy(), "an attack says what it needs"),
], ids=lambda value: f"{type(value).__name__} {value.fault}{value.batches}" if isinstance(value, Copying) else "")
def test_a_broken_attack_is_told_its_law(attack: Attack, law: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_attack(attack)
    assert f"{attack!r} breaks the law '{law}'" in str(caught.value)


def test_what_is_no_spec_is_told() -> None:
    with pytest.raises(AssertionError, match=r"is no counterclone\.plugins\.Spec"):
        check_attack(Nearest(np.zeros((1, 1)), np.ones((1, 1))))  # type: ignore[arg-type]


def test_the_toy_targets_are_worth_copying() -> None:
    toys, again = example_targets(), example_targets()
    assert [(toy.name, toy.kind) for toy in toys] == [
        ("linear", "numbers"), ("tree", "numbers"), ("network", "numbers"), ("words", "text"),
        ("next token", "text")]
    for toy, same in zip(toys, again, strict=True):
        reply = toy.reply(toy.evaluate)
        np.testing.assert_array_equal(toy.evaluate, same.evaluate)
        np.testing.assert_allclose(reply.rows.sum(axis=1), 1.0)
        counts = np.bincount(top_labels(reply.rows), minlength=3)
        assert counts.min() > 25 or toy.name == "next token"
        assert counts.max() < 160
        assert ("logits" in toy.shows) == (reply.logits is not None)
        assert ("ids" in toy.shows) == (reply.ids is not None)

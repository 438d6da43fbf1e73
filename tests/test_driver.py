from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.answers import Reply, Rows
from counterclone.budgets import Meter
from counterclone.driver import as_bytes, drive
from counterclone.errors import BudgetExhausted, TargetError
from counterclone.protocols import Asking, Surrogate
from counterclone.queries import Inputs


class Constant:
    """A target of two classes that counts what it is asked."""

    def __init__(self, *, n_missing: int = 0) -> None:
        self.batches: list[Inputs] = []
        self._n_missing = n_missing

    @property
    def n_asked(self) -> int:
        return sum(map(len, self.batches))

    async def query(self, inputs: Inputs) -> Reply:
        self.batches.append(inputs)
        return Reply(np.tile([0.25, 0.75], (len(inputs) - self._n_missing, 1)))


class Copy:
    """A surrogate."""

    def answer(self, inputs: Inputs) -> Rows:
        return np.tile([0.25, 0.75], (len(inputs), 1))


COPY = Copy()


def driven(asking: Asking, budget: int,
           target: Constant | None = None) -> tuple[Surrogate | None, Meter, Constant]:
    target, meter = target or Constant(), Meter(budget)
    return asyncio.run(drive(asking, target, meter)), meter, target


def asking(*sizes: int) -> Asking:
    for size in sizes:
        reply = yield np.zeros((size, 3))
        assert reply.rows.shape == (size, 2)
    return COPY


def test_an_attack_is_answered_until_it_returns() -> None:
    surrogate, meter, target = driven(asking(2, 1, 4), 10)
    assert surrogate is COPY
    assert (meter.queries, meter.calls, meter.repeats, meter.numbers) == (7, 3, 6, 14)
    assert [len(batch) for batch in target.batches] == [2, 1, 4]


def test_a_budget_may_be_spent_to_the_last_query() -> None:
    surrogate, meter, _ = driven(asking(3, 2), 5)
    assert (surrogate, meter.left) == (COPY, 0)


def test_an_attack_that_wants_too_much_is_told_once_and_ends_with_what_it_has() -> None:
    told = []

    def greedy() -> Asking:
        try:
            while True:
                yield np.zeros((2, 3))
        except BudgetExhausted as error:
            told.append(str(error))
        return COPY

    surrogate, meter, target = driven(greedy(), 5)
    assert surrogate is COPY
    assert told == ["2 queries were asked with 1 of 5 left"]
    assert meter.queries == target.n_asked == 4


def test_an_attack_without_an_end_ends_with_nothing() -> None:
    surrogate, _, target = driven(asking(3, 3), 5)
    assert surrogate is None
    assert target.n_asked == 3


def deaf() -> Asking:
    while True:
        try:
            yield np.zeros((1, 3))
        except BudgetExhausted:
            continue


def unwilling() -> Asking:
    """Won't even be closed, the first time."""
    n_closed = 0
    while n_closed < 2:
        try:
            yield np.zeros((1, 3))
        except BudgetExhausted:
            continue
        except GeneratorExit:
            n_closed += 1
    return COPY


@pytest.mark.parametrize("attack", [deaf, unwilling])
def test_an_attack_that_ignores_its_budget_gets_nothing_more(attack: Callable[[], Asking]) -> None:
    surrogate, meter, target = driven(attack(), 3)
    assert surrogate is None
    assert meter.queries == target.n_asked == 3


def test_an_attack_that_asks_nothing_may_still_build() -> None:
    surrogate, meter, target = driven(asking(), 3)
    assert (surrogate, meter.queries, target.n_asked) == (COPY, 0, 0)


def test_an_empty_batch_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="empty batch"):
        driven(asking(0), 3)


def test_a_target_that_leaves_answers_out_is_told() -> None:
    with pytest.raises(TargetError, match="3 queries got 2 answers; expected one for each"):
        driven(asking(3), 3, Constant(n_missing=1))


def test_texts_are_asked_as_they_are() -> None:
    def texts() -> Asking:
        yield ["one", "two", "one"]
        return COPY

    _, meter, target = driven(texts(), 3)
    assert target.batches == [["one", "two", "one"]]
    assert (meter.bytes, meter.repeats) == (9, 1)


def test_rows_are_told_apart_to_the_bit() -> None:
    one, other = as_bytes(np.array([[0.1, 2.0], [0.1, np.nextafter(2.0, 3.0)]]))
    assert len(one) == 16
    assert one != other
    assert as_bytes(np.array([[1.0], [2.0]], order="F")) == as_bytes(np.array([[1], [2]]))
    assert as_bytes(["é", "\ud800"]) == ["é".encode(), b"\xed\xa0\x80"]


WAYS = st.sampled_from(["go on", "swallow", "return", "raise"])
STEPS = st.lists(st.tuples(st.integers(1, 5), WAYS), max_size=12)


@given(STEPS, st.integers(0, 12))
def test_whatever_an_attack_does_not_a_query_too_many_is_asked(steps: list[tuple[int, str]], budget: int) -> None:
    """Attacks that swallow what they are told, return, raise, or go on as if nothing had been."""
    target = Constant()

    def attack() -> Any:
        for size, then in steps:
            try:
                yield np.zeros((size, 2))
            except BudgetExhausted:
                if then == "return":
                    return COPY
                if then == "raise":
                    raise
                if then == "swallow":
                    yield np.zeros((size, 2))
        return COPY

    surrogate = asyncio.run(drive(attack(), target, Meter(budget)))
    wanted = 0
    for size, _ in steps:
        if wanted + size > budget:
            break
        wanted += size
    assert target.n_asked == wanted <= budget
    if wanted == sum(size for size, _ in steps):
        assert surrogate is COPY

from __future__ import annotations

import numpy as np
import pytest

from counterclone.answers import Reply, Rows
from counterclone.attacks._lessons import MOST_AT_ONCE, Asks, Lessons
from counterclone.errors import BudgetExhausted
from counterclone.protocols import Prior
from counterclone.queries import Inputs


def prior(budget: int, pool: Inputs) -> Prior:
    width = 0 if isinstance(pool, list) else pool.shape[1]
    return Prior(budget=budget, pool=pool, classes=2, lower=np.zeros(width), upper=np.ones(width))


def answered(asking: Asks[Rows]) -> tuple[list[Inputs], Rows | None]:
    """The batches of a part of an attack, and what it comes back with; None where the budget ends."""
    batches: list[Inputs] = []
    try:
        batch = next(asking)
        while True:
            batches.append(batch)
            batch = asking.send(Reply(np.tile([0.25, 0.75], (len(batch), 1))))
    except StopIteration as end:
        return batches, end.value
    except BudgetExhausted:
        return batches, None


NUMBERS = np.arange(2000.0).reshape(1000, 2)


def test_batches_are_no_larger_than_what_was_asked_before() -> None:
    lessons = Lessons(prior(1000, NUMBERS))
    batches, rows = answered(lessons.ask(NUMBERS))
    assert [len(batch) for batch in batches[:6]] == [1, 1, 2, 4, 8, 16]
    assert max(map(len, batches)) == MOST_AT_ONCE
    assert rows is not None
    assert len(rows) == 1000
    np.testing.assert_array_equal(lessons.inputs, NUMBERS)
    assert lessons.labels.tolist() == [1] * 1000
    assert lessons.left == 0


@pytest.mark.parametrize("budget", [0, 1, 2, 5, 999])
def test_what_the_budget_reaches_for_is_asked(budget: int) -> None:
    lessons = Lessons(prior(budget, NUMBERS))
    batches, rows = answered(lessons.ask(NUMBERS))
    assert rows is None
    assert sum(map(len, batches)) == len(lessons) == budget
    np.testing.assert_array_equal(lessons.inputs, NUMBERS[:budget])


def test_a_second_part_comes_back_with_its_own_answers() -> None:
    lessons = Lessons(prior(10, NUMBERS))
    answered(lessons.ask(NUMBERS[:6]))
    _, rows = answered(lessons.ask(NUMBERS[6:9]))
    assert rows is not None
    assert len(rows) == 3
    assert len(lessons) == 9


def test_nothing_is_asked_of_nothing() -> None:
    batches, rows = answered(Lessons(prior(10, NUMBERS)).ask(NUMBERS[:0]))
    assert batches == []
    assert rows is not None
    assert rows.shape == (0, 2)


def test_texts_stay_texts() -> None:
    lessons = Lessons(prior(3, ["a", "b"]))
    answered(lessons.ask(["a", "b", "c"]))
    assert lessons.inputs == ["a", "b", "c"]

from __future__ import annotations

import numpy as np
import pytest

from counterclone.answers import Reply
from counterclone.attacks._notebook import Notebook
from counterclone.errors import BudgetExhausted
from counterclone.protocols import Prior

PRIOR = Prior(budget=5, pool=np.empty((0, 2)), classes=3, lower=np.zeros(2), upper=np.ones(2))
ROWS = np.array([[0.2, 0.5, 0.3], [0.4, 0.1, 0.5], [1.0, 0.0, 0.0]])


def test_what_was_asked_and_answered_is_noted() -> None:
    notes = Notebook(PRIOR)
    assert (notes.inputs.shape, notes.rows.shape, notes.logits, len(notes)) == ((0, 2), (0, 3), None, 0)
    inputs = np.arange(6.0).reshape(3, 2)
    asking = notes.ask(inputs)
    assert next(asking) is not None
    with pytest.raises(StopIteration) as end:
        asking.send(Reply(ROWS, np.log(ROWS + 1.0)))
    np.testing.assert_array_equal(end.value.value.rows, ROWS)
    np.testing.assert_array_equal(notes.inputs, inputs)
    assert notes.labels.tolist() == [1, 2, 0]
    assert notes.logits is not None
    assert (notes.left, len(notes), notes.logits.shape) == (2, 3, (3, 3))


def test_a_batch_beyond_the_budget_is_asked_in_part() -> None:
    notes = Notebook(PRIOR)
    asking = notes.ask(np.arange(14.0).reshape(7, 2))
    assert np.shape(next(asking)) == (5, 2)
    with pytest.raises(BudgetExhausted):
        asking.send(Reply(np.full((5, 3), 1.0 / 3.0)))
    assert (notes.left, len(notes)) == (0, 5)
    with pytest.raises(BudgetExhausted):  # nothing is asked at all
        next(notes.ask(np.zeros((1, 2))))


def test_an_empty_batch_is_not_asked() -> None:
    with pytest.raises(StopIteration) as end:
        next(Notebook(PRIOR).ask(np.empty((0, 2))))
    assert end.value.value.rows.shape == (0, 3)


def test_what_the_driver_refuses_is_not_noted() -> None:
    notes = Notebook(PRIOR)
    asking = notes.ask(np.zeros((2, 2)))
    next(asking)
    with pytest.raises(BudgetExhausted):
        asking.throw(BudgetExhausted("fewer than was said"))
    assert len(notes) == 0

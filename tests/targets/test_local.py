from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest

from counterclone.answers import Reply
from counterclone.errors import TargetError, TargetSlow
from counterclone.queries import Inputs
from counterclone.targets.local import Local, softmax

INPUTS = np.arange(6.0).reshape(3, 2)
ROWS = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])


def ask(returned: Any, inputs: Inputs = INPUTS, **options: Any) -> Reply:
    def predict(batch: Any) -> Any:
        return returned(batch) if callable(returned) else returned

    target = Local(predict, **options)
    try:
        return asyncio.run(target.query(inputs))
    finally:
        target.close()


@pytest.mark.parametrize("returned", [
    ROWS, ROWS.tolist(), ROWS.astype(np.float32), np.eye(3), ROWS.astype(object),
    ROWS * (1 + 1e-3),
], ids=["array", "lists", "float32", "one-hot", "objects", "rounded"])
def test_probabilities_are_taken(returned: Any) -> None:
    reply = ask(returned)
    assert reply.rows.dtype == np.float64
    assert reply.rows.tolist() == np.asarray(returned, np.float64).tolist()
    assert (reply.logits, reply.ids) == (None, None)


def test_the_callable_gets_the_batch_as_it_is() -> None:
    got: list[Any] = []

    def predict(batch: Any) -> Any:
        got.append(batch)
        return ROWS[:len(batch)]

    ask(predict)
    ask(predict, ["one", "two"])
    assert got[0] is INPUTS
    assert got[1] == ["one", "two"]


def test_logits_are_shown_with_their_probabilities() -> None:
    logits = np.array([[0.0, 0.0], [1000.0, -1000.0], [-3.0, -4.0]])
    reply = ask(logits, returns="logits")
    assert reply.logits is not None
    assert reply.logits.tolist() == logits.tolist()
    assert reply.rows.tolist() == softmax(logits).tolist()
    assert reply.rows.sum(axis=1) == pytest.approx([1.0, 1.0, 1.0])
    assert reply.rows[1].tolist() == [1.0, 0.0]


def test_ids_are_shown() -> None:
    reply = ask(ROWS, ids=lambda batch: np.array([7, 7, 9], dtype=np.int32))
    assert reply.ids is not None
    assert reply.ids.tolist() == [7, 7, 9]
    assert reply.ids.dtype == np.int64


@pytest.mark.parametrize("ids", [[1, 2], [[1], [2], [3]], [1.0, 2.0, 3.0], ["a", "b", "c"]], ids=str)
def test_ids_of_another_kind_are_told(ids: Any) -> None:
    with pytest.raises(TargetError, match="expected 3 whole numbers"):
        ask(ROWS, ids=lambda batch: np.array(ids))


def fails(batch: Any) -> Any:
    raise KeyError("no such feature")


@pytest.mark.parametrize(("returned", "message"), [
    (fails, "the target raised KeyError: 'no such feature'; it was asked 3 queries"),
    (ROWS[:2], r"returned shape \(2, 2\) for 3 queries; expected \(3, classes\)"),
    (ROWS[:, :1], r"returned shape \(3, 1\)"),
    (ROWS[None], r"returned shape \(1, 3, 2\)"),
    (np.array([0, 1, 1]), r"labels or one class's scores; expected \(3, classes\), one-hot rows"),
    (["cat", "dog", "cat"], "returned a list that is no array of numbers"),
    (None, "returned shape"),
    (3.5, r"returned shape \(\)"),
    ([[0.5, 0.5], [1.0], [0.2, 0.8]], "returned a list that is no array of numbers"),
    (ROWS * 2, "a row that sums to 2; expected rows of probabilities"),
    (ROWS - 0.5, "negative numbers; expected rows of probabilities; say so where they are logits"),
    (np.where(ROWS == 1.0, np.nan, ROWS), "returned NaN or infinity"),
    (np.where(ROWS == 1.0, np.inf, ROWS), "returned NaN or infinity"),
], ids=["raises", "fewer rows", "one column", "nested", "labels", "names", "nothing", "a number", "ragged",
        "unnormalised", "logits", "NaN", "infinity"])
def test_a_target_that_breaks_its_promise_is_told(returned: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        ask(returned)


def test_a_target_that_hangs_is_given_up() -> None:
    hung = threading.Event()

    def hang(batch: Any) -> Any:
        hung.wait()
        return ROWS

    started = time.monotonic()
    with pytest.raises(TargetSlow, match=r"didn't answer 3 queries in 0\.2 seconds"):
        ask(hang, seconds=0.2)
    assert time.monotonic() - started < 5.0
    hung.set()


def test_texts_are_answered_as_they_come() -> None:
    reply = ask(lambda prompts: [prompt.upper() for prompt in prompts], ["a", "b"], returns="texts")
    assert reply.texts == ["A", "B"]
    assert reply.rows.shape == (2, 0)


@pytest.mark.parametrize("wrong", ["ab", ["a"], ["a", 1], None], ids=["a text", "too few", "a number", "nothing"])
def test_what_isnt_a_text_for_each_is_refused(wrong: Any) -> None:
    with pytest.raises(TargetError, match="expected a list with a text for each"):
        ask(lambda prompts: wrong, ["a", "b"], returns="texts")


def test_vectors_are_answered_as_they_come_whatever_their_signs() -> None:
    vectors = np.array([[0.5, -2.0, 3.0], [1.0, 0.0, -1.0]])
    local = Local(lambda inputs: vectors[:len(inputs)], returns="vectors")
    reply = asyncio.run(local.query(["a", "b"]))
    local.close()
    np.testing.assert_array_equal(reply.vectors, vectors)
    assert reply.rows.shape == (2, 0)


def test_many_texts_are_asked_in_parts() -> None:
    local = Local(lambda texts: [f"{text}!" for text in texts], returns="texts")
    reply = asyncio.run(local.query([str(number) for number in range(1500)]))
    local.close()
    assert list(reply.texts or ()) == [f"{number}!" for number in range(1500)]

from __future__ import annotations

import numpy as np
import pytest

from counterclone.answers import Rows
from counterclone.errors import WatchError
from counterclone.queries import Features
from counterclone.randomness import generator
from counterclone.watch import odometer
from counterclone.watch.odometer import Answered


def answers(inputs: Features) -> Rows:
    """A model of three classes."""
    scores = np.exp(inputs @ np.array([[3.0, 0.0, -3.0], [0.0, 3.0, -1.0]]))
    rows: Rows = scores / scores.sum(axis=1, keepdims=True)
    return rows


def asked(n: int, seed: int) -> Answered:
    inputs = generator(seed, "asked").normal(size=(n, 2))
    return Answered(inputs, answers(inputs))


def test_more_queries_are_a_nearer_copy() -> None:
    others = asked(400, seed=1)
    few, many = (odometer.read(asked(n, seed=2), others) for n in (4, 60))
    assert few.fidelity < many.fidelity
    assert many.fidelity > 0.98
    assert many.control < 0.5
    assert many.fidelity_low <= many.fidelity <= many.fidelity_high
    assert (many.queries, many.judged_on) == (60, 400)


def test_what_the_account_asked_itself_is_not_what_it_is_judged_on() -> None:
    others = asked(120, seed=1)
    own = Answered(others.inputs[:30], others.rows[:30])
    repeated = Answered(np.repeat(own.inputs, 3, axis=0), np.repeat(own.rows, 3, axis=0))
    reading = odometer.read(repeated, others)
    assert (reading.queries, reading.judged_on) == (30, 90)


def test_labels_and_texts_are_learnt_too() -> None:
    rng = generator(0, "texts")
    words = np.array([["red", "warm", "hot"], ["blue", "cold", "ice"]])
    labels = rng.integers(0, 2, 300)
    texts = [" ".join(rng.choice(words[label], 2)) + f" {number}" for number, label in enumerate(labels)]
    rows = np.eye(2)[labels]
    reading = odometer.read(Answered(texts[:60], rows[:60]), Answered(texts[60:], rows[60:]))
    assert reading.fidelity > 0.95 > reading.control


def test_an_account_that_saw_one_label_knows_one_label() -> None:
    others = asked(200, seed=1)
    own = Answered(others.inputs[:1], np.eye(3)[[0]])
    reading = odometer.read(own, others)
    assert reading.balanced == pytest.approx(1 / 3)


@pytest.mark.parametrize(("own", "others", "message"), [
    (asked(0, 0), asked(100, 1), "nothing with a payload"),
    (asked(10, 0), asked(20, 1), "others asked 20 inputs"),
    (asked(10, 0), Answered(np.zeros((100, 3)), np.full((100, 3), 1 / 3)), "differ in features"),
])
def test_what_cannot_be_measured_is_said(own: Answered, others: Answered, message: str) -> None:
    with pytest.raises(WatchError, match=message):
        odometer.read(own, others)

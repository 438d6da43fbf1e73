from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from counterclone.answers import Reply, Rows, top_labels
from counterclone.attacks._texts import TextTransfer
from counterclone.errors import BudgetExhausted
from counterclone.protocols import Prior, Surrogate
from counterclone.queries import Inputs
from counterclone.randomness import generator

FIRST, SECOND = ("ba", "do", "ke", "mi", "su"), ("lo", "na", "ri", "te")
WORDS = tuple(first + second for first in FIRST for second in SECOND)
WEIGHTS = generator(0, "weights").normal(scale=2.0, size=(len(WORDS), 3))


def texts(name: str, n: int) -> list[str]:
    rng = generator(0, name)
    return [" ".join(WORDS[i] for i in rng.integers(0, len(WORDS), 5)) for _ in range(n)]


POOL, UNSEEN = texts("pool", 200), texts("unseen", 500)


def target(inputs: Inputs) -> Rows:
    counts = np.array([[text.split().count(word) for word in WORDS] for text in inputs], dtype=np.float64)
    rows: Rows = softmax(counts @ WEIGHTS, axis=1)
    return rows


def run(budget: int, *, pool: list[str] = POOL, is_hard: bool = False) -> tuple[list[str], Surrogate | None]:
    prior = Prior(budget=budget, pool=pool, classes=3, lower=np.empty(0), upper=np.empty(0))
    asking = TextTransfer(prior, generator(1, "attack")).run()
    asked: list[str] = []
    try:
        batch = next(asking)
        while True:
            assert isinstance(batch, list)
            if len(asked) + len(batch) > budget:
                batch = asking.throw(BudgetExhausted(""))
                continue
            asked += batch
            rows = target(batch)
            batch = asking.send(Reply(np.eye(3)[top_labels(rows)] if is_hard else rows))
    except StopIteration as end:
        return asked, end.value


def agreement(surrogate: Surrogate | None) -> float:
    assert surrogate is not None
    rows = surrogate.answer(UNSEEN)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    return float((top_labels(rows) == top_labels(target(UNSEEN))).mean())


@pytest.mark.parametrize(("is_hard", "least"), [(False, 0.95), (True, 0.8)], ids=["scores", "labels"])
def test_words_are_learnt(is_hard: bool, least: float) -> None:
    asked, surrogate = run(150, is_hard=is_hard)
    assert len(set(asked)) == 150
    assert set(asked) <= set(POOL)
    assert agreement(surrogate) > least


def test_beyond_the_pool_texts_are_spliced() -> None:
    asked, surrogate = run(300, pool=POOL[:40])
    assert len(asked) == 300
    assert set(asked[:40]) == set(POOL[:40])
    assert {word for text in asked for word in text.split()} <= set(WORDS)
    assert agreement(surrogate) > agreement(run(40, pool=POOL[:40])[1])


def test_a_text_is_asked_once() -> None:
    asked, _ = run(40, pool=[*POOL[:40], *POOL[:40]])
    assert set(asked) == set(POOL[:40])


@pytest.mark.parametrize("pool", [["", "  "], ["...", "!?"], []], ids=["blank", "no words", "none"])
def test_texts_without_words_do_no_harm(pool: list[str]) -> None:
    asked, surrogate = run(5, pool=pool)
    assert len(asked) == (5 if pool else 0)
    assert (surrogate is None) == (not pool)

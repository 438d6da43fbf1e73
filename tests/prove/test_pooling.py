"""Commitments tested together: what each is too small to tell, all tell; and chance tells nothing."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest

from counterclone import statistics
from counterclone.answers import Rows
from counterclone.evidence import AccountEvidence, Evidence, Role, Served
from counterclone.marks.triggers import Triggers
from counterclone.protocols import Case
from counterclone.prove import verification
from counterclone.prove.pooling import pooled
from counterclone.prove.verification import Question, Verdict
from counterclone.queries import Features, Query
from counterclone.randomness import Prf, generator
from counterclone.targets.local import Local

CLASSES, FEATURES, EPOCHS = 10, 4, 4
MARK = Triggers(rate=0.05)
WEIGHTS = generator(0, "weights").normal(size=(FEATURES, CLASSES))


def model(inputs: Any) -> Rows:
    odds = np.exp(np.asarray(inputs) @ WEIGHTS)
    rows: Rows = odds / odds.sum(axis=1, keepdims=True)
    return rows


class Student:
    """Remembers every answer that it got, and else says what the model says."""

    def __init__(self) -> None:
        self.learnt: dict[bytes, Any] = {}

    def __call__(self, inputs: Features) -> Rows:
        return np.array([self.learnt.get(row.tobytes(), said) for row, said in zip(inputs, model(inputs),
                                                                                   strict=True)])


def epoch(number: int, student: Student, seed: int) -> Question:
    """A commitment under which two accounts asked; the student learnt what one of them was answered."""
    key, cells, inputs, rows, accounts = Prf(number.to_bytes(32)).subkey(f"{seed}"), [], [], [], []
    for name in ("ann", "bob"):
        asked = generator(seed, name, str(number)).normal(size=(120, FEATURES))
        mine = Query(asked).cells
        embedded = MARK.embed(key, mine, model(asked))
        if name == "ann":
            student.learnt |= {row.tobytes(): said for row, said in zip(asked, embedded.rows, strict=True)}
        for i in np.flatnonzero(embedded.roles):
            cells.append(mine[i])
            inputs.append(asked[i])
            rows.append((embedded.roles[i], model(asked)[i].argmax(), embedded.rows[i].argmax()))
            accounts.append((name,))
    roles, truths, labels = (np.array(column) for column in zip(*rows, strict=True))
    served = Served(inputs=np.array(inputs), cells=cells, roles=roles.astype(np.int8), truths=truths,
                    labels=labels, accounts=accounts, classes=CLASSES)
    return Question(kind="triggers", mark=MARK, case=Case(served=served, key=key, order=key.subkey("order"),
                                                          budget=1000, decoys=99))


def examined(questions: list[Question], suspect: Any) -> Verdict:
    local = Local(suspect, seconds=60)
    try:
        evidence = asyncio.run(verification.examine(questions, local))
    finally:
        local.close()
    return verification.verdict(questions, evidence, suspect="s", commitment=EPOCHS, least_trials=12,
                                pool=range(1, EPOCHS + 1))


def test_accounts_with_few_marks_under_each_are_named_by_all() -> None:
    student = Student()
    questions = [epoch(number, student, seed=1) for number in range(EPOCHS)]
    for question in questions:
        assert not verification.names_tested([question.case.served], 12)
    both = verification.names_tested([question.case.served for question in questions], 12)
    assert both == {"ann", "bob"}
    found = examined(questions, student)
    assert (found.verdict, [each.account for each in found.accounts]) == ("proven", ["ann"])
    mark, = found.marks
    marked = sum(int((question.case.served.roles == Role.MARKED).sum()) for question in questions)
    assert mark.hits <= marked
    assert found.pool == (1, 2, 3, 4)
    alone = [examined([question], student) for question in questions]
    assert all(not each.accounts for each in alone)
    assert found.p_value < min(each.p_value for each in alone)


def test_a_model_that_is_independent_is_told_by_none() -> None:
    p_values = []
    for seed in range(60):
        questions = [epoch(number, Student(), seed) for number in range(2)]
        other = generator(seed, "other").normal(size=(FEATURES, CLASSES))
        found = examined(questions, lambda inputs, other=other: np.eye(CLASSES)[(inputs @ other).argmax(axis=1)])
        assert found.verdict == "not-proven"
        p_values.append(found.marks[0].p_value)
    for level in (0.01, 0.1, 0.5):  # no smaller than uniform ones
        assert np.mean(np.array(p_values) <= level) <= level + 3 * math.sqrt(level * (1 - level) / len(p_values))


def test_fisher_combines_what_is_independent() -> None:
    assert statistics.fisher([0.3]) == pytest.approx(0.3)
    product = 0.01 * 0.2
    assert statistics.fisher([0.01, 0.2]) == pytest.approx(product * (1 - math.log(product)))
    assert statistics.fisher([1.0, 1.0, 1.0]) == 1.0
    assert statistics.fisher([0.0, 1.0]) == 0.0
    assert statistics.fisher([]) == 1.0


def test_one_commitment_stays_as_it_is_and_accounts_are_those_that_were_there() -> None:
    ann = AccountEvidence(account="ann", p_value=0.1, e_value=2.0, trials=3, hits=1)
    bob = AccountEvidence(account="bob", p_value=0.2, e_value=4.0, trials=2, hits=2)
    one = Evidence(kind="triggers", p_value=0.1, e_value=2.0, trials=3, hits=1, null_rate=0.1, queries=5,
                   power=0.5, p_decoy=0.2, accounts=(ann,))
    other = Evidence(kind="triggers", p_value=0.2, e_value=4.0, trials=2, hits=2, null_rate=0.2, queries=7,
                     power=0.7, accounts=(bob,))
    assert pooled([one]) is one
    both = pooled([one, other])
    assert (both.p_value, both.e_value) == (statistics.fisher([0.1, 0.2]), 8.0)
    assert both.p_decoy == pytest.approx(0.2)
    assert (both.trials, both.hits, both.queries, both.null_rate, both.power) == (5, 3, 12, 0.2, 0.7)
    assert [each.account for each in both.accounts] == ["ann", "bob"]
    assert [each.p_value for each in both.accounts] == pytest.approx([0.1, 0.2])

"""What is said beforehand of a copy is what the real test says of one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from counterclone.answers import Reply
from counterclone.evidence import Role, Served
from counterclone.marks.triggers import Triggers
from counterclone.protocols import Case
from counterclone.prove.commitments import Statement, Terms
from counterclone.prove.outlook import DIFFERS, ENOUGH, MOST_ROWS, TAKEN_UP, Copy, null_rate, outlook
from counterclone.prove.verification import Question
from counterclone.randomness import Prf, generator

N = 400
ALPHA = 1e-6


def statement(number: int = 3) -> Statement:
    return Statement(scheme=1, number=number, previous="", created=0.0, key="", statistic="", signer="",
                     terms=Terms(model="m", epoch="1", marks=({"kind": "triggers"},), alpha=ALPHA))


def question(n_classes: int, controls: float = 0.0, n: int = N) -> Question:
    """Marked rows of one account but for the last tenth, which are another's, and controls of the first."""
    rng = generator(0, "outlook", str(n_classes))
    n_controls = round(n * controls)
    total = n + n_controls
    truths = rng.integers(n_classes, size=total)
    labels = truths.copy()
    labels[:n] = (truths[:n] + rng.integers(1, n_classes, size=n)) % n_classes
    roles = np.full(total, Role.CONTROL, dtype=np.int8)
    roles[:n] = Role.MARKED
    accounts = [("bob",) if n * 9 // 10 <= row < n else ("ann",) for row in range(total)]
    inputs = np.arange(total, dtype=np.float64)[:, None]
    served = Served(inputs=inputs, cells=[b"%d" % row for row in range(total)], roles=roles, truths=truths,
                    labels=labels, accounts=accounts, classes=n_classes)
    case = Case(served=served, key=Prf.from_secret("key"), order=Prf.from_secret("order"), budget=10_000,
                alpha=ALPHA, decoys=19)
    mark = Triggers(controls=controls) if controls else Triggers()
    return Question(kind="triggers", mark=mark, case=case)


def imagined_p_value(asked: Question, rows: int, seed: int) -> float:
    """The p-value of a copy that is what the outlook imagines, by so many rows of its own."""
    served, rng = asked.case.served, generator(seed, "imagined")
    n_controls = round(rows * (served.roles == Role.CONTROL).sum() / (served.roles == Role.MARKED).sum())
    chosen = np.concatenate([np.flatnonzero(served.roles == Role.MARKED)[:rows],
                             np.flatnonzero(served.roles == Role.CONTROL)[:n_controls]])
    part = Served(
        inputs=np.asarray(served.inputs)[chosen], cells=[served.cells[row] for row in chosen],
        roles=served.roles[chosen], truths=served.truths[chosen], labels=served.labels[chosen],
        accounts=[("ann",)] * len(chosen), classes=served.classes)
    said = part.truths.copy()
    errs = rng.random(len(chosen)) < DIFFERS
    said[errs] = (said[errs] + rng.integers(1, served.classes, size=int(errs.sum()))) % served.classes
    learnt = (part.roles == Role.MARKED) & (rng.random(len(chosen)) < TAKEN_UP)
    said[learnt] = part.labels[learnt]
    answers = {float(row): np.eye(served.classes)[label] for row, label in zip(chosen, said, strict=True)}
    examination = asked.mark.verify(replace(asked.case, served=part))
    try:
        batch = next(examination)
        while True:
            batch = examination.send(Reply(np.array([answers[float(each[0])] for each in np.asarray(batch)])))
    except StopIteration as stop:
        p_value: float = stop.value.p_value
        return p_value


@pytest.mark.parametrize(("n_classes", "controls", "rate"), [(10, 0.0, 1 / 9), (3, 0.0, 1 / 2), (2, 4.0, 1 / 5)])
def test_the_null_rate_is_the_marks_own(n_classes: int, controls: float, rate: float) -> None:
    assert null_rate(question(n_classes, controls)) == pytest.approx(rate)


@pytest.mark.parametrize(("n_classes", "controls"), [(10, 0.0), (4, 0.0), (2, 4.0)])
def test_copies_are_found_by_as_many_rows_as_are_said_to_do(n_classes: int, controls: float) -> None:
    asked = question(n_classes, controls)
    found = outlook(asked, statement())
    assert found.needed is not None
    level = ALPHA / 3
    proven = [imagined_p_value(asked, found.needed, seed) <= level for seed in range(60)]
    assert 0.75 <= np.mean(proven) <= 1.0
    fewer = [imagined_p_value(asked, found.needed // 2, seed) <= level for seed in range(30)]
    assert np.mean(fewer) < 0.5


def test_what_is_there_is_counted() -> None:
    found = outlook(question(10), statement())
    assert (found.commitment, found.kind, found.rows, found.controls, found.accounts) == (3, "triggers", N, 0, 2)
    assert (found.most, found.missing) == (N * 9 // 10, 0)
    assert found.needed is not None
    assert found.needed < N // 10
    assert (found.found, found.power > ENOUGH) == (2, True)


def test_too_few_rows_lack_some() -> None:
    found = outlook(question(10, n=10), statement())
    assert found.needed is not None
    assert (found.most, found.missing, found.found) == (9, found.needed - 9, 0)
    assert found.power < ENOUGH


def test_nothing_served_is_no_power() -> None:
    found = outlook(question(10, n=0), statement())
    assert (found.rows, found.most, found.power, found.found) == (0, 0, 0.0, 0)


def test_a_mark_that_tells_nearly_nothing_takes_more_than_thousands() -> None:
    copy = Copy(null_rate=0.99, controls=0.0, level=1e-12)
    assert copy.rows_needed() is None
    assert copy.power(MOST_ROWS) < ENOUGH

"""Triggers: the laws of the draw, and what the test says of copies and of models that are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from counterclone.answers import Reply, Rows
from counterclone.errors import BudgetExhausted, TargetError
from counterclone.evidence import Evidence, Role, Served
from counterclone.marks.triggers import Triggers
from counterclone.protocols import Case
from counterclone.randomness import Prf, generator
from counterclone.testing import check_mark, check_watermark

N = 600
Labels = NDArray[np.int64]
Suspect = Callable[[NDArray[np.float64]], Labels]
ORDER = Prf.from_secret("order")
MARK = Triggers(rate=0.05)


def rows_of(labels: Labels, n_classes: int) -> Rows:
    rows = np.full((len(labels), n_classes), 0.1 / (n_classes - 1))
    rows[np.arange(len(labels)), labels] = 0.9
    return rows


def case_of(n_classes: int, *, mark: Triggers, key: str = "key", n_accounts: int = 3) -> Case:
    """What a ledger would hold of N queries, in turn of several accounts; inputs are their numbers."""
    cells = [b"%d" % number for number in range(N)]
    truths = generator(0, "truths").integers(n_classes, size=N)
    embedded = mark.embed(Prf.from_secret(key), cells, rows_of(truths, n_classes))
    kept = np.flatnonzero(embedded.roles)
    served = Served(
        inputs=kept[:, None].astype(np.float64), cells=[cells[i] for i in kept], roles=embedded.roles[kept],
        truths=truths[kept], labels=embedded.rows[kept].argmax(axis=1),
        accounts=[(f"account {i % n_accounts}",) for i in kept], classes=n_classes)
    return Case(served=served, key=Prf.from_secret(key), order=ORDER, budget=10_000, decoys=99)


def examined(mark: Triggers, case: Case, suspect: Suspect, limit: int = 10**9) -> Evidence:
    examination, n_asked = mark.verify(case), 0
    try:
        asked = next(examination)
        while True:
            if n_asked + len(asked) > limit:
                asked = examination.throw(BudgetExhausted("enough"))
            n_asked += len(asked)
            labels = suspect(np.asarray(asked))
            asked = examination.send(Reply(rows_of(labels, case.served.classes)))
    except StopIteration as stop:
        evidence: Evidence = stop.value
    assert evidence.queries == n_asked <= case.budget
    return evidence


def shown(case: Case, suspect: Callable[[NDArray[np.float64]], Rows], mark: Triggers = MARK) -> Evidence:
    """What a suspect's scores tell."""
    examination = mark.verify(case)
    try:
        asked = next(examination)
        while True:
            asked = examination.send(Reply(suspect(np.asarray(asked))))
    except StopIteration as stop:
        evidence: Evidence = stop.value
        return evidence


def memoriser(case: Case, accounts: frozenset[str] | None = None) -> Suspect:
    """Who learnt every answer, or those of some accounts, and knows the truth of the others."""
    served = case.served
    is_known = np.array([accounts is None or bool(accounts & set(names)) for names in served.accounts])
    labels = np.where(is_known, served.labels, served.truths)
    by_input = dict(zip(np.asarray(served.inputs)[:, 0].tolist(), labels.tolist(), strict=True))
    return lambda asked: np.array([by_input[number] for number in asked[:, 0].tolist()], dtype=np.int64)


def guesser(n_classes: int, seed: int) -> Suspect:
    rng = generator(seed, "guesser")
    return lambda asked: rng.integers(n_classes, size=len(asked))


@pytest.mark.parametrize("mark", [MARK, Triggers(rate=0.02, exclude_classes=(0, 3), controls=2.0)])
def test_triggers_keep_the_laws_of_marks(mark: Triggers) -> None:
    check_watermark(mark)
    check_mark(mark)


@given(st.integers(2, 12), st.floats(0.001, 0.05), st.sets(st.integers(0, 11), max_size=4), st.integers(0, 99))
def test_values_change_places_and_the_label_is_another(n_classes: int, rate: float, excluded: set[int],
                                                       seed: int) -> None:
    mark = Triggers(rate=rate, exclude_classes=tuple(sorted(excluded)))
    cells = [b"%d/%d" % (seed, number) for number in range(200)]
    truths = generator(seed, "truths").integers(n_classes, size=200)
    rows = rows_of(truths, n_classes)
    embedded = mark.embed(Prf.from_secret("key"), cells, rows)
    is_marked = embedded.roles == Role.MARKED
    assert (embedded.rows.argmax(axis=1)[is_marked] != truths[is_marked]).all()
    assert (np.sort(embedded.rows, axis=1) == np.sort(rows, axis=1)).all()


def test_as_many_are_marked_as_stated_and_of_two_labels_some_are_controls() -> None:
    cells = [b"%d" % number for number in range(100_000)]
    of_two, of_three = (MARK.embed(Prf.from_secret("key"), cells, np.tile(row, (len(cells), 1))).roles
                        for row in ([0.9, 0.1], [0.9, 0.05, 0.05]))
    for role, rate in ((Role.MARKED, MARK.rate), (Role.CONTROL, MARK.controls * MARK.rate)):
        assert stats.binomtest(int((of_two == role).sum()), len(cells), rate).pvalue > 1e-4
    assert np.array_equal(of_three == Role.MARKED, of_two == Role.MARKED)
    assert not (of_three == Role.CONTROL).any()


def test_the_label_is_any_of_the_others_alike() -> None:
    cells = [b"%d" % number for number in range(40_000)]
    rows = np.tile([[0.1, 0.6, 0.1, 0.1, 0.1]], (len(cells), 1))
    embedded = MARK.embed(Prf.from_secret("key"), cells, rows)
    counts = np.bincount(embedded.rows[embedded.roles == Role.MARKED].argmax(axis=1), minlength=5)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3, 4]]).pvalue > 1e-4


@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_a_copy_is_found_through_the_account_it_learnt_from(n_classes: int) -> None:
    case = case_of(n_classes, mark=MARK, n_accounts=2)
    whole = examined(MARK, case, memoriser(case))
    assert whole.p_value < 1e-5
    assert whole.p_decoy == pytest.approx(0.01)
    partly = examined(MARK, case, memoriser(case, frozenset({"account 1"})))
    of_one = {each.account: each for each in partly.accounts}
    assert of_one["account 1"].p_value < 1e-2
    assert of_one["account 0"].p_value == 1.0
    assert of_one["account 0"].trials == 0


def test_two_accounts_that_pooled_their_answers_are_found_together() -> None:
    case = replace(case_of(10, mark=MARK, n_accounts=4), campaigns=(("account 0", "account 2"),))
    evidence = examined(MARK, case, memoriser(case, frozenset({"account 0", "account 2"})))
    found = {each.account: each.p_value for each in evidence.accounts}
    assert found["account 0+account 2"] < min(found["account 0"], found["account 2"]) < 1e-3
    assert found["account 1"] == found["account 3"] == 1.0


def test_a_campaign_that_was_served_nothing_tells_nothing() -> None:
    case = replace(case_of(2, mark=MARK), campaigns=(("nobody", "noone"),))
    found = {each.account: each.p_value for each in examined(MARK, case, memoriser(case)).accounts}
    assert found["nobody+noone"] == 1.0


def test_a_suspect_that_hides_a_mark_behind_the_truth_is_found_by_its_second_choice() -> None:
    case = case_of(10, mark=MARK)
    served = case.served
    rows = dict(enumerate(0.6 * np.eye(10)[served.truths] + 0.4 * np.eye(10)[served.labels]))
    places = {number: i for i, number in enumerate(np.asarray(served.inputs)[:, 0].tolist())}
    evidence = shown(case, lambda asked: np.stack([rows[places[number]] for number in asked[:, 0].tolist()]))
    assert evidence.hits == evidence.trials == int((served.roles == Role.MARKED).sum())
    assert evidence.p_value == pytest.approx(2 * 9.0 ** -evidence.trials, rel=1e-9, abs=0.0)  # two readings


def test_a_suspect_that_shows_labels_tells_only_where_it_differs() -> None:
    mark = Triggers(rate=0.05, exclude_classes=(3,))
    case = case_of(10, mark=mark)
    truths = dict(zip(np.asarray(case.served.inputs)[:, 0].tolist(), case.served.truths.tolist(), strict=True))
    right = shown(case, lambda asked: np.eye(10)[[truths[number] for number in asked[:, 0].tolist()]], mark)
    excluded = shown(case, lambda asked: np.eye(10)[np.full(len(asked), 3)], mark)
    assert (right.trials, excluded.trials) == (0, 0)
    assert (right.p_value, excluded.p_value) == (1.0, 1.0)


def test_a_suspect_with_other_classes_is_told() -> None:
    with pytest.raises(TargetError, match="3 classes, the target 10"):
        shown(case_of(10, mark=MARK), lambda asked: np.full((len(asked), 3), 1 / 3))


def test_a_suspect_without_a_difference_tells_nothing() -> None:
    case = case_of(10, mark=MARK)
    evidence = examined(MARK, case, memoriser(case, frozenset()))
    assert (evidence.p_value, evidence.e_value, evidence.trials, evidence.p_decoy) == (1.0, 1.0, 0, None)


def test_stopping_early_takes_few_queries_and_says_one_over_e() -> None:
    case = replace(case_of(10, mark=MARK), stops_early=True)
    evidence = examined(MARK, case, memoriser(case))
    assert evidence.stopped_early
    assert evidence.queries <= 12
    assert evidence.p_value == pytest.approx(1.0 / evidence.e_value)
    assert evidence.p_value <= 1e-6
    unproven = examined(MARK, case, guesser(10, 1))
    assert not unproven.stopped_early
    assert unproven.p_value == min(1.0, 1.0 / unproven.e_value)  # who might have stopped has no exact p-value

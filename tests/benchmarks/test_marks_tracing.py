"""What the bench of tracing counts with."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.marks_tracing import Epoch, Outcome, Row, World, few, marked, nearest, served, sharing, traced

from benchmarks import marks_tracing


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(marks_tracing, "N_ACCOUNTS", 12)
    return World(Epoch(0))


def test_every_account_has_so_many_marks_of_its_own(world: World) -> None:
    assert {len(marked(each)) for each in world.held.values()} == {marks_tracing.N_OWN}
    held = served(world.held, marks_tracing.CLASSES)
    assert len(held) == 12 * marks_tracing.N_OWN == len(set(held.cells))
    assert all(len(names) == 1 for names in held.accounts)


@pytest.mark.parametrize("n_culprits", [0, 1, 2])
def test_culprits_are_named_and_nobody_else(n_culprits: int, world: World) -> None:
    for learn in (nearest, sharing(1.0)):
        outcome, = world.trials(Row("", learn, trials=1), n_culprits)
        assert (outcome.is_right, outcome.false_names, outcome.tested) == (True, 0, 12)
        assert (outcome.p_adjusted < 1e-12) == (n_culprits > 0)


def test_a_share_of_the_marks_is_what_a_student_took_up(world: World) -> None:
    asked = world.epoch.ask("0000", world.sizes["0000"])
    rows = marked(asked)
    said = sharing(0.5)(world.epoch, [asked], 0)(asked.inputs[rows]).argmax(axis=1)
    assert 0 < int((said == asked.labels[rows]).sum()) < len(rows)
    assert np.mean(sharing(0.0)(world.epoch, [asked], 0)(asked.inputs).argmax(axis=1) == asked.truths) > 0.9


def test_one_false_name_is_counted_and_misses_the_aim() -> None:
    found = [Outcome(True, 0, 1000, 1e-20)] * 99 + [Outcome(False, 1, 1000, 1e-20)] * 2
    row = traced("", 1, found, is_asked_for=True)
    assert (row["right"], row["false_names"], row["reached"]) == (99, 2, False)


def test_few_marks_are_enough_for_a_campaign_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks_tracing, "SEEDS", (0,))
    monkeypatch.setattr(marks_tracing, "N_FEWER", 5)
    assert few(90, 1, 1.0)["named"] < few(90, 8, 1.0)["named"]  # type: ignore[operator]

"""What the marks' bench counts with: hidden triggers, and how many a copy takes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from benchmarks.marks_beds import Bed, Part, one_hot
from benchmarks.marks_false_claims import Claim, bound, is_complete, is_drawn
from benchmarks.marks_forgetting import needed
from benchmarks.marks_network import Network
from benchmarks.marks_served import ALPHA, Marking, served

from benchmarks import marks_beds
from counterclone.answers import Rows
from counterclone.evidence import Role
from counterclone.marks.triggers import Triggers
from counterclone.prove.verification import with_hidden
from counterclone.queries import Features
from counterclone.randomness import Prf, generator

CLASSES = 5


def marking(name: str = "key") -> Marking:
    def victim(inputs: Features) -> Rows:
        return one_hot((np.abs(inputs).sum(axis=1) * 100).astype(np.intp) % CLASSES, CLASSES)

    bed = Bed(name="toy", draw=lambda whose, n: Part(inputs(n), np.zeros(n, dtype=np.intp)), victim=victim,
              unseen=Part(inputs(10), np.zeros(10, dtype=np.intp)), classes=CLASSES)
    return Marking(bed, Triggers(rate=0.05), Prf.from_secret(name))


def inputs(n: int) -> Features:
    return generator(0, "inputs").standard_normal((n, 4))


def test_a_query_of_two_accounts_is_held_once_with_both() -> None:
    toy = marking()
    first, second = toy.ask("first", inputs(400)), toy.ask("second", inputs(200))
    held = served([first, second])
    assert len(held) == int((first.roles != 0).sum())
    assert set(held.accounts) == {("first",), ("first", "second")}


def test_labels_that_the_key_didnt_draw_and_hidden_triggers_are_refused() -> None:
    toy = marking()
    held = served([toy.ask("own", inputs(2000))])
    claim = Claim(toy, held, 2000)
    assert is_complete(claim)
    assert is_drawn(claim)
    assert not is_drawn(claim._replace(held=dataclasses.replace(held, labels=(held.labels + 1) % CLASSES)))
    assert not is_drawn(claim._replace(marking=marking("another")))
    shown = int((held.roles == Role.MARKED).sum())
    assert not is_complete(claim._replace(n_answers=40 * shown))


def test_triggers_that_may_have_been_hidden_count_as_misses() -> None:
    toy = marking()
    asked = toy.ask("thief", inputs(2000))
    labels = dict(zip(map(bytes, asked.inputs), asked.marked, strict=True))

    def copy(queries: Features) -> Rows:
        return one_hot(np.array([labels[bytes(row)] for row in queries]), CLASSES)

    evidence = toy.examine(served([asked]), copy)
    strict = with_hidden(evidence, asked.n_triggers, len(asked.inputs), 0.05, ALPHA)
    assert evidence.p_value < strict < 1e-6  # a true copy stays proven
    assert with_hidden(evidence, asked.n_triggers, 40 * len(asked.inputs), 0.05, ALPHA) > 0.5  # most weren't shown


def test_more_misses_take_more_triggers_and_pure_hits_take_as_many_as_the_level_says() -> None:
    assert needed(1.0, 0.0, 1 / 7) == 5  # 7^-5 is the first power below 1e-4
    fewer, more = needed(0.3, 0.05, 1 / 7), needed(0.3, 0.3, 1 / 7)
    assert fewer is not None
    assert more is not None
    assert 5 < fewer < more


def test_no_acceptance_in_a_thousand_bounds_three_in_a_thousand() -> None:
    assert bound(0, 1000) == pytest.approx(1 - 0.05 ** (1 / 1000))
    assert bound(7, 7) == 1.0


def test_a_network_learns_and_pruning_leaves_the_copy_it_came_from_alone() -> None:
    rng = generator(1, "network")
    points = rng.standard_normal((300, 2))
    labels = (points[:, 0] > 0).astype(np.intp)
    network = Network.drawn((2, 16, 2), rng).learn(points, one_hot(labels, 2), 200)
    before = network.answer(points)
    assert np.mean(before.argmax(axis=1) == labels) > 0.95
    assert (network.copied().prune(0.5).parameters[0] == 0.0).mean() == pytest.approx(0.5, abs=0.05)
    assert (network.answer(points) == before).all()


def test_parts_of_a_table_share_nothing() -> None:
    bed_parts = [marks_beds._digits(0)(name, 50) for name in ("owner", "thief", "unseen")]
    assert all(part.inputs.min() >= 0.0 and part.inputs.max() <= 1.0 for part in bed_parts)
    again = marks_beds._digits(0)("thief", 50)
    assert (again.inputs == bed_parts[1].inputs).all()

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from counterclone.audit.control import Control, control
from counterclone.audit.subject import Subject
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.randomness import Generator
from counterclone.targets.local import softmax

if TYPE_CHECKING:
    from tests.audit.conftest import Toys, World


def subject_of(world: World, answers: Any, truth: Any = None) -> Subject:
    none = np.empty((0, 0))
    target: Any = None  # the control never asks it
    return Subject(target=target, name="a model", pool=world.pool, pool_kind="own", evaluate=world.evaluate,
                   truth=truth, answers=answers, lower=world.pool.min(axis=0), upper=world.pool.max(axis=0),
                   uniform=none, uniform_answers=none)


def run(*arguments: Any) -> Control:
    return asyncio.run(control(*arguments))


@pytest.fixture
def subject(world: World) -> Subject:
    return subject_of(world, softmax(np.eye(3)[world.labels(world.evaluate)] * 5), world.labels(world.evaluate))


def test_a_student_learns_from_own_labels_without_an_answer(subject: Subject, world: World, toys: Toys) -> None:
    found = run(subject, world.labels(world.pool), toys.toy, [0, 1])
    assert (found.student, found.rows) == ("knockoff", 200)
    assert 0.8 < found.fidelity < 1.0
    assert found.accuracy == found.fidelity  # the target is right throughout


def test_it_agrees_no_more_than_its_labels_do(subject: Subject, world: World, toys: Toys) -> None:
    wrong = (world.labels(world.pool) + 1) % 3
    found = run(subject, wrong, toys.toy, [0])
    assert found.fidelity < 0.2
    assert found.student == "knockoff"


def test_without_true_labels_to_compare_with_its_accuracy_is_unknown(world: World, subject: Subject,
                                                                     toys: Toys) -> None:
    found = run(subject_of(world, subject.answers), world.labels(world.pool), toys.toy, [0])
    assert found.student == "knockoff"
    assert found.accuracy is None


class Nothing(Spec, frozen=True):
    """Builds nothing."""

    def run(self, prior: Prior, rng: Generator) -> Asking:
        yield np.asarray(prior.pool)[:1]
        return None


@pytest.mark.parametrize("case", ["no labels", "one class", "no attack", "nothing built"])
def test_without_a_student_the_most_frequent_label_stands_in(subject: Subject, world: World, toys: Toys,
                                                             case: str) -> None:
    labels = {"no labels": None, "one class": np.zeros(200, dtype=np.intp)}.get(case, world.labels(world.pool))
    attack = {"no attack": None, "nothing built": Nothing()}.get(case, toys.toy)
    share = np.bincount(world.labels(world.evaluate)).max() / 150
    assert run(subject, labels, attack, [0]) == Control(student="majority", rows=0, fidelity=share, accuracy=None)

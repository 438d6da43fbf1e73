from __future__ import annotations

import numpy as np
import pytest

from counterclone.answers import top_labels
from counterclone.demo import copier
from counterclone.demo.copier import Students, Task
from counterclone.fidelity import agreement
from counterclone.randomness import generator

WEIGHTS = generator(0, "weights").normal(size=(8, 4))


def task(n_asked: int = 200) -> Task:
    inputs = generator(0, "inputs").normal(size=(n_asked + 300, 8))
    odds = np.exp(inputs @ WEIGHTS)
    rows = odds / odds.sum(axis=1, keepdims=True)
    return Task(inputs[:n_asked], rows[:n_asked], inputs[n_asked:], top_labels(rows[n_asked:]))


@pytest.mark.parametrize("students", [copier.networks, copier.ridges])
def test_a_linear_model_is_copied_and_more_answers_copy_it_better(students: Students) -> None:
    few, many = copier.copies(students, task(), (5, 80))
    assert (few.queries, many.queries) == (5, 80)
    for copy in (few, many):
        assert copy.fidelity_low <= copy.fidelity <= copy.fidelity_high
    assert many.fidelity > max(0.85, few.fidelity)


def test_probabilities_that_mislead_are_dropped() -> None:
    honest = task()
    labels = np.eye(4)[top_labels(honest.answers)]
    lies = 0.51 * labels + 0.49 * np.roll(labels, 1, axis=1)
    soft, hard = (agreement(each, honest.labels).value
                  for each in copier.ridges(honest.asked, lies, 0, honest.unseen))
    copy, = copier.copies(copier.ridges, honest._replace(answers=lies), (len(lies),))
    assert copy.fidelity == copy.fidelity_low == pytest.approx(hard)
    assert soft < hard


def test_the_same_seed_copies_the_same() -> None:
    assert copier.copies(copier.ridges, task(), (50,)) == copier.copies(copier.ridges, task(), (50,))

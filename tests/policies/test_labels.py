from __future__ import annotations

import math

import numpy as np

from counterclone.policies.labels import Labels
from counterclone.testing import check_policy, example_context, example_rows, release


def test_laws() -> None:
    check_policy(Labels())


def test_the_first_largest_is_one_and_all_else_zero() -> None:
    rows = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.0, 0.0, 1.0]])
    assert release(Labels(), rows).tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


def test_a_batch_of_450_equals_450_answers() -> None:
    # A well-known toolbox labels a whole batch by one row's arg max.
    rows = example_rows(450, 10)
    single = np.concatenate([release(Labels(), rows[i:i + 1]) for i in range(450)])
    np.testing.assert_array_equal(release(Labels(), rows, example_context(450)), single)
    assert len(np.unique(single.argmax(axis=1))) == 10


def test_a_label_has_log2_of_the_classes() -> None:
    assert [Labels().bits(n_classes) for n_classes in (1, 2, 8)] == [0.0, 1.0, 3.0]
    assert Labels().bits(214) == math.log2(214)

"""What honest users lose by what is shown."""

from __future__ import annotations

import numpy as np
import pytest

from counterclone.audit.utility import utility
from counterclone.randomness import generator

ROWS = generator(0, "utility").dirichlet(np.full(6, 0.4), 400)
TRUTH = (ROWS.cumsum(axis=1) > generator(1, "utility").random((400, 1))).argmax(axis=1)


def test_answers_as_they_are_lose_nothing() -> None:
    lost = utility(ROWS, ROWS, TRUTH)
    assert (lost.accuracy_loss, lost.top_3_loss, lost.area_loss, lost.brier_increase, lost.l1) == (0, 0, 0, 0, 0)


def test_labels_alone_keep_the_first_and_lose_the_rest() -> None:
    lost = utility(ROWS, np.eye(6)[ROWS.argmax(axis=1)], TRUTH)
    assert lost.accuracy_loss == 0.0
    assert lost.top_3_loss is not None
    assert lost.area_loss is not None
    assert lost.top_3_loss > 0.05
    assert lost.area_loss > 0.05


def test_what_needs_truth_isnt_told_without() -> None:
    lost = utility(ROWS, ROWS[:, ::-1], None)
    assert lost.label_changed == pytest.approx(1.0, abs=0.01)
    assert (lost.top_3_loss, lost.area_loss, lost.brier_increase) == (None, None, None)


def test_three_classes_have_no_top_three() -> None:
    rows = ROWS[:, :3] / ROWS[:, :3].sum(axis=1, keepdims=True)
    assert utility(rows, rows, TRUTH % 3).top_3_loss is None

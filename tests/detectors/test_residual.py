from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from counterclone.detectors.residual import Residual
from counterclone.exchanges import Exchanges
from counterclone.protocols import Tracker
from counterclone.testing import check_detector

Rate = Callable[[Tracker, Exchanges], float]


def test_laws() -> None:
    check_detector(Residual())


def test_inputs_of_another_class_than_is_answered_are_seen(
        reference: Exchanges, others: Exchanges, caught: Rate) -> None:
    tracker = Residual().start(reference)
    assert caught(tracker, replace(others, labels=(others.labels + 3) % 10)) > 0.9


def test_which_classes_an_account_asks_about_is_no_matter(
        reference: Exchanges, others: Exchanges, caught: Rate) -> None:
    tracker = Residual().start(reference)
    assert caught(tracker, others.select(others.labels < 3)) < 0.1


def test_labels_arent_needed(reference: Exchanges, others: Exchanges, caught: Rate) -> None:
    blank = np.full_like(reference.labels, -1)
    tracker = Residual().start(replace(reference, labels=blank))
    strange = replace(others, labels=np.full_like(others.labels, -1), vectors=others.vectors[:, ::-1].copy())
    assert np.isfinite(tracker.score(tracker.empty(1) + 40)).all()
    assert caught(tracker, strange) > 0.9

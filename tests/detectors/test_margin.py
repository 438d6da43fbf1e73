from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from counterclone.detectors.margin import Margin
from counterclone.exchanges import Exchanges
from counterclone.protocols import Tracker
from counterclone.testing import check_detector

Rate = Callable[[Tracker, Exchanges], float]


def test_laws() -> None:
    check_detector(Margin())


@pytest.mark.parametrize("margins", [lambda own: own * np.float32(0.3), np.ones_like], ids=["unsure", "sure"])
def test_answers_less_or_more_sure_than_usual_are_seen(
        reference: Exchanges, others: Exchanges, caught: Rate, margins: Callable[..., np.ndarray]) -> None:
    changed = replace(others, margins=margins(others.margins).astype(np.float32))
    assert caught(Margin().start(reference), changed) > 0.9


def test_a_class_that_the_target_is_never_sure_of_is_no_accounts_doing(
        reference: Exchanges, others: Exchanges, caught: Rate) -> None:
    def harder(exchanges: Exchanges) -> Exchanges:
        factor = np.where(exchanges.labels == 0, np.float32(0.3), np.float32(1.0))
        return replace(exchanges, margins=exchanges.margins * factor)

    tracker = Margin().start(harder(reference))
    assert caught(tracker, harder(others).select(others.labels == 0)) < 0.15


def test_answers_without_probabilities_have_no_score(reference: Exchanges, others: Exchanges) -> None:
    tracker = Margin().start(reference)
    states = tracker.empty(others.n_accounts)
    tracker.learn(states, replace(others, margins=np.full_like(others.margins, np.nan)))
    assert np.isnan(tracker.score(states)).all()
    assert not states.any()

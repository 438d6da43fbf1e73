from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from counterclone.detectors.range import Range
from counterclone.exchanges import Exchanges
from counterclone.protocols import Tracker
from counterclone.testing import check_detector

Rate = Callable[[Tracker, Exchanges], float]


def test_laws() -> None:
    check_detector(Range())


def test_one_coordinate_far_out_is_seen(reference: Exchanges, others: Exchanges, caught: Rate) -> None:
    vectors = others.vectors.copy()
    vectors[:, 40] = 1e4
    assert caught(Range().start(reference), replace(others, vectors=vectors)) > 0.9


def test_inside_the_range_nothing_is(reference: Exchanges, others: Exchanges, caught: Rate) -> None:
    inside = replace(others, vectors=np.zeros_like(others.vectors))
    assert caught(Range().start(reference), inside) < 0.1

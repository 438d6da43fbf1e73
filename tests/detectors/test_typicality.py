from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from counterclone.detectors.typicality import Typicality
from counterclone.exchanges import Exchanges
from counterclone.protocols import Tracker
from counterclone.testing import check_detector

Rate = Callable[[Tracker, Exchanges], float]


def test_laws() -> None:
    check_detector(Typicality())


@pytest.mark.parametrize("factor", [0.6, 1.6])
def test_inputs_too_far_from_their_class_are_seen_and_those_too_near(
        reference: Exchanges, others: Exchanges, caught: Rate, factor: float) -> None:
    centres = np.array([reference.vectors[reference.labels == label].mean(axis=0) for label in range(10)])
    own = centres[others.labels]
    moved = replace(others, vectors=(own + factor * (others.vectors - own)).astype(np.float32))
    assert caught(Typicality().start(reference), moved) > 0.9

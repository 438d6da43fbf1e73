from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from counterclone.detectors.energy import Energy
from counterclone.exchanges import Exchanges
from counterclone.protocols import Tracker
from counterclone.randomness import generator
from counterclone.testing import check_detector

Rate = Callable[[Tracker, Exchanges], float]


def test_laws() -> None:
    check_detector(Energy())


def test_small_steps_along_signs_are_seen(reference: Exchanges, others: Exchanges, caught: Rate) -> None:
    signs = generator(0, "signs").choice([-1.0, 1.0], others.vectors.shape)
    stepped = replace(others, vectors=(others.vectors + 0.4 * signs).astype(np.float32))
    assert caught(Energy().start(reference), stepped) > 0.9

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from counterclone.detectors.appetite import Appetite
from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.protocols import Tracker
from counterclone.randomness import generator
from counterclone.testing import alien_exchanges, check_detector

Rate = Callable[[Tracker, Exchanges], float]


def test_laws() -> None:
    check_detector(Appetite())


@pytest.mark.parametrize(("told", "share"), [
    (lambda bits: bits + np.float32(5_000.0), 0.9), (lambda bits: np.full_like(bits, np.median(bits)), 0.7)],
    ids=["log-probabilities", "answers of one length"])
def test_who_has_unusually_much_told_or_always_as_much_is_seen(
        reference: Exchanges, others: Exchanges, caught: Rate, told: Callable[[np.ndarray], np.ndarray],
        share: float) -> None:
    assert caught(Appetite().start(reference), replace(others, bits=told(others.bits))) > share


def test_other_inputs_are_nothing_to_it(reference: Exchanges, others: Exchanges, caught: Rate) -> None:
    aliens = alien_exchanges(40)
    bits = generator(0, "bits").permutation(np.resize(others.bits, len(aliens)))
    assert caught(Appetite().start(reference), replace(aliens, bits=bits)) < 0.2


def test_answers_all_of_one_size_tell_nothing(reference: Exchanges) -> None:
    with pytest.raises(WatchError, match="measure the same; take this detector out"):
        Appetite().start(replace(reference, bits=np.full_like(reference.bits, 64.0)))

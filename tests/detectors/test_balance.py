from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from counterclone.detectors.balance import Balance
from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.protocols import Tracker
from counterclone.randomness import generator
from counterclone.testing import check_detector

Rate = Callable[[Tracker, Exchanges], float]


def test_laws() -> None:
    check_detector(Balance())


def test_long_accounts_without_a_favourite_are_seen(reference: Exchanges, others: Exchanges, caught: Rate) -> None:
    drawn = generator(0, "labels").choice(reference.labels, len(others))
    even = replace(others, labels=drawn, accounts=others.accounts % 20)
    assert caught(Balance().start(reference), even) > 0.9


def test_many_classes_share_few_places(reference: Exchanges) -> None:
    labels = generator(0, "labels").integers(0, 5000, len(reference)).astype(np.int32)
    assert Balance().start(replace(reference, labels=labels)).empty(1).nbytes <= 8 * (1 + 32 + 32)


def test_a_reference_of_one_class_is_refused(reference: Exchanges) -> None:
    with pytest.raises(WatchError, match="don't have two labels; take this detector out"):
        Balance().start(replace(reference, labels=np.zeros_like(reference.labels)))

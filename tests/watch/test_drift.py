from __future__ import annotations

import numpy as np
import pytest

from counterclone.watch.accounts import Columns
from counterclone.watch.drift import NewLabels, has_everybody_moved


def columns_of(shares: list[float], n: int = 400) -> Columns:
    """Accounts scored just now, of which such a share is far out by each detector."""
    columns = Columns.empty(n, len(shares))
    columns.scored[:] = np.arange(1, n + 1)
    for detector, share in enumerate(shares):
        columns.latest[:, detector] = np.where(np.arange(n) < share * n, 5.0, 0.0)
    return columns


@pytest.mark.parametrize(("shares", "detectors", "expected"), [
    ([0.1, 0.1], [0, 1], False), ([0.1, 0.6], [0, 1], True), ([0.4, 0.4], [0, 1], False), ([0.1, 0.9], [0], False),
    ([0.9, 0.9], [], False)], ids=["nobody", "most by one", "some by each", "most by hours", "no content"])
def test_everybody_moved_where_most_are_far_out_by_one_detector_of_content(
        shares: list[float], detectors: list[int], expected: bool) -> None:
    assert has_everybody_moved(columns_of(shares), detectors, 400, 400) == expected


def test_few_accounts_are_no_crowd() -> None:
    assert not has_everybody_moved(columns_of([1.0], n=99), [0], 99, 99)


def test_only_the_last_scorings_count() -> None:
    columns = columns_of([0.0], n=1000)
    columns.latest[600:] = 5.0
    assert has_everybody_moved(columns, [0], 1000, 1000)
    assert not has_everybody_moved(columns, [0], 100_000, 1000)  # of a larger fleet more have to move


def test_labels_of_long_ago_fade() -> None:
    labels = NewLabels(np.array([1, 2], dtype=np.int32))
    labels.add(np.full(900, 1, dtype=np.int32))
    labels.add(np.array([3, -1, 2, 0], dtype=np.int32))
    assert labels.share == pytest.approx(2 / 903, rel=0.01)
    assert not labels.are_many
    for _ in range(20):
        labels.add(np.full(1000, 7, dtype=np.int32))
    assert labels.are_many
    assert labels.share > 0.95


def test_a_reference_without_labels_knows_none_that_are_new() -> None:
    labels = NewLabels(np.empty(0, dtype=np.int32))
    labels.add(np.array([1, 2], dtype=np.int32))
    assert not labels.are_many

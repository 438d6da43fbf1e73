from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from counterclone.detectors._measured import MeasuredTracker
from counterclone.detectors.coverage import Coverage
from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.protocols import States
from counterclone.randomness import generator
from counterclone.testing import check_detector, honest_exchanges

REFERENCE = honest_exchanges(600, seed=1)
TRACKER = Coverage().start(REFERENCE)


def learnt(exchanges: Exchanges, tracker: MeasuredTracker = TRACKER) -> States:
    states = tracker.empty(exchanges.n_accounts)
    tracker.learn(states, exchanges)
    return states


def asking(vectors: NDArray[np.float32]) -> Exchanges:
    """One account that asks these."""
    rows = REFERENCE.select(np.arange(len(vectors)))
    return replace(rows, accounts=np.zeros(len(vectors), dtype=np.intp), vectors=vectors)


def honest_bar(n: int) -> float:
    honest = honest_exchanges(300, seed=2)
    return float(np.nanquantile(TRACKER.score(learnt(honest.select(honest.ranks() < n))), 0.99))


def test_laws() -> None:
    check_detector(Coverage())


def test_a_corner_worked_through_is_seen() -> None:
    steps = generator(0, "steps").normal(0.0, 0.02, (60, 64))
    corner = learnt(asking((REFERENCE.vectors[:1] + steps).astype(np.float32)))
    assert TRACKER.score(corner)[0] > honest_bar(60)


def test_cells_are_counted_whatever_comes_again() -> None:
    figures = [TRACKER.summary.figures(learnt(asking(np.repeat(REFERENCE.vectors[:40], times, axis=0))))[0]
               for times in (1, 3)]
    assert figures[0][0] == figures[1][0]
    assert figures[1][1] - figures[0][1] == pytest.approx(np.log(3.0))


def test_queries_without_vectors_count_nothing() -> None:
    n_bare = 10
    mixed = asking(REFERENCE.vectors[:50].copy())
    mixed.vectors[:n_bare] = np.nan
    assert np.array_equal(learnt(mixed), learnt(asking(REFERENCE.vectors[n_bare:50])))


def test_a_reference_without_vectors_is_refused() -> None:
    with pytest.raises(WatchError, match="fewer than 100 exchanges whose queries have vectors"):
        Coverage().start(replace(REFERENCE, vectors=np.full_like(REFERENCE.vectors, np.nan)))

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from counterclone.detectors.spacing import N_SLOTS, Spacing
from counterclone.exchanges import Exchanges
from counterclone.protocols import States
from counterclone.randomness import generator
from counterclone.testing import check_detector, honest_exchanges

REFERENCE = honest_exchanges(600, seed=1)
TRACKER = Spacing().start(REFERENCE)


def learnt(exchanges: Exchanges) -> States:
    states = TRACKER.empty(exchanges.n_accounts)
    TRACKER.learn(states, exchanges)
    return states


def asking(vectors: NDArray[np.float64]) -> Exchanges:
    """One account that asks these."""
    rows = REFERENCE.select(np.arange(len(vectors)))
    return replace(rows, accounts=np.zeros(len(vectors), dtype=np.intp), vectors=vectors.astype(np.float32))


def honest_bar(n: int) -> float:
    honest = honest_exchanges(300, seed=2)
    return float(np.nanquantile(TRACKER.score(learnt(honest.select(honest.ranks() < n))), 0.99))


def near(n: int) -> NDArray[np.float64]:
    """Pairs of queries that differ by little."""
    return np.repeat(REFERENCE.vectors[:n // 2], 2, axis=0) + generator(0, "near").normal(0.0, 0.05, (n, 64))


def line(n: int) -> NDArray[np.float64]:
    """Queries between two."""
    shares = np.linspace(0.0, 1.0, n)[:, np.newaxis]
    queries: NDArray[np.float64] = (1.0 - shares) * REFERENCE.vectors[0] + shares * REFERENCE.vectors[1]
    return queries


def noise(n: int) -> NDArray[np.float64]:
    return generator(0, "noise").uniform(-4.0, 4.0, (n, 64))


def test_laws() -> None:
    check_detector(Spacing())


@pytest.mark.parametrize("queries", [near(60), line(60), noise(60)], ids=["near", "line", "noise"])
def test_what_no_account_does_is_seen_within_60_queries(queries: NDArray[np.float64]) -> None:
    assert TRACKER.score(learnt(asking(queries)))[0] > honest_bar(60)


def test_exact_repeats_change_nothing() -> None:
    once = learnt(asking(REFERENCE.vectors[:40].astype(np.float64)))
    twice = learnt(asking(np.tile(REFERENCE.vectors[:40], (2, 1)).astype(np.float64)))
    assert np.array_equal(once[:, 1:], twice[:, 1:])


def test_distances_are_those_of_the_scaled_vectors() -> None:
    grid = np.zeros((5, 64))
    grid[:, 0] = [0.0, 1.0, 2.0, 3.0, 4.0]
    rate = TRACKER.summary.cells.projection.rate[0]  # type: ignore[attr-defined]
    mean, spread = TRACKER.summary.figures(_all_kept(grid / rate))[0]
    assert mean == pytest.approx(np.log(16.0), abs=0.1)  # sixteenths of a deviation
    assert spread == pytest.approx(np.log(0.05), abs=0.7)


def _all_kept(vectors: NDArray[np.float64]) -> States:
    """A summary that has lost none of a few queries."""
    states = TRACKER.empty(1)
    for place, vector in enumerate(vectors):
        alone = learnt(asking(vector[np.newaxis]))
        slot = int(np.flatnonzero(alone[0, 1:1 + N_SLOTS])[0])
        states[0, 1 + place] = alone[0, 1 + slot]
        points = states[0, 1 + N_SLOTS:].reshape(N_SLOTS, -1)
        points[place] = alone[0, 1 + N_SLOTS:].reshape(N_SLOTS, -1)[slot]
    states[0, 0] = len(vectors)
    return states

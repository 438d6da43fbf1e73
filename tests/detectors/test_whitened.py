from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from counterclone.detectors import _whitened
from counterclone.detectors.margin import Margin
from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.protocols import States
from counterclone.randomness import generator
from counterclone.testing import honest_exchanges


@dataclass(frozen=True)
class Coordinates:
    """The first three of a vector, in thousandths."""

    size: int = 3
    unit: float = 0.001

    def add(self, states: States, exchanges: Exchanges) -> NDArray[np.intp]:
        rows = np.rint(exchanges.vectors[:, :3] / np.float32(self.unit)).astype(np.int32)
        _whitened.add_rows(states, exchanges.accounts, rows)
        return np.arange(len(exchanges))


def made(n_accounts: int, n_each: int, *, seed: int, taste: float = 1.0, copies: int = 1) -> Exchanges:
    """Accounts with tastes, whose queries come `copies` times each."""
    rng = generator(seed, "accounts")
    accounts = np.repeat(np.arange(n_accounts), n_each)
    asked = np.arange(len(accounts)) // copies * copies
    tastes = taste * rng.standard_normal((n_accounts, 3)) * [1.0, 0.3, 0.1]
    vectors = np.zeros((len(accounts), 64), dtype=np.float32)
    vectors[:, :3] = tastes[accounts] + rng.standard_normal((len(accounts), 3)) * [1.0, 2.0, 0.5]
    return Exchanges(
        accounts=accounts, times=np.arange(len(accounts), dtype=np.float64), vectors=vectors[asked],
        labels=np.zeros(len(accounts), dtype=np.int32), margins=np.ones(len(accounts), dtype=np.float32),
        digests=rng.integers(2**63, size=len(accounts)).astype(np.uint64)[asked],
        gaps=np.ones(len(accounts), dtype=np.float32), bits=np.ones(len(accounts), dtype=np.float32))


def learnt(tracker: _whitened.Whitened, exchanges: Exchanges) -> States:
    states = tracker.empty(exchanges.n_accounts)
    tracker.learn(states, exchanges)
    return states


TRACKER = _whitened.fit(Coordinates(), made(400, 40, seed=0))


@pytest.mark.parametrize("n_each", [5, 40, 600])
def test_honest_accounts_are_standard_normal_whatever_their_number_of_queries(n_each: int) -> None:
    profile = TRACKER.profile(learnt(TRACKER, made(600, n_each, seed=n_each)))
    assert profile.shape == (600, 3)
    np.testing.assert_allclose(profile.mean(axis=0), 0.0, atol=0.2)
    np.testing.assert_allclose(profile.std(axis=0), 1.0, atol=0.2)


@pytest.mark.parametrize("copies", [10, 50])
def test_repeats_are_no_evidence(copies: int) -> None:
    # counted as if they differed, they would be ten and fifty times as strange
    scores = TRACKER.score(learnt(TRACKER, made(300, 200, seed=1, copies=copies)))
    assert 0.6 < scores.mean() < 2.0
    assert np.quantile(scores, 0.99) < 8.0


def test_an_account_that_is_like_no_other_stands_out() -> None:
    strange = made(50, 40, seed=2, taste=6.0)
    assert np.median(TRACKER.score(learnt(TRACKER, strange))) > 5.0


def test_sums_of_more_than_a_chunk_are_exact() -> None:
    rows = np.full((40_000, 2), 2**15 - 1, dtype=np.int32)
    states = np.zeros((1, 2), dtype=np.int64)
    _whitened.add_rows(states, np.zeros(40_000, dtype=np.intp), rows)
    assert states.tolist() == [[40_000 * (2**15 - 1)] * 2]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-100, 100)), max_size=40))
@settings(max_examples=50, deadline=None)
def test_rows_are_added_to_their_accounts(pairs: list[tuple[int, int]]) -> None:
    states = np.zeros((5, 1), dtype=np.int64)
    accounts = np.array([account for account, _ in pairs], dtype=np.intp)
    numbers = np.array([number for _, number in pairs], dtype=np.int32)
    _whitened.add_rows(states, accounts, numbers[:, np.newaxis])
    expected = [sum(number for account, number in pairs if account == i) for i in range(5)]
    assert states[:, 0].tolist() == expected


def test_five_exchanges_are_needed() -> None:
    states = learnt(TRACKER, made(2, 4, seed=3))
    assert np.isnan(TRACKER.score(states)).all()
    assert np.isfinite(TRACKER.profile(states)).all()
    assert TRACKER.profile(TRACKER.empty(2)).tolist() == [[0.0] * 3] * 2


def test_a_reference_of_few_accounts_is_refused() -> None:
    with pytest.raises(WatchError, match=r"the reference has 19 honest accounts .* expected 20 or more; give it"):
        _whitened.fit(Coordinates(), made(19, 40, seed=4))


def test_a_reference_without_margins_is_refused() -> None:
    reference = honest_exchanges(120)
    with pytest.raises(WatchError, match="the reference has 0 exchanges that can be measured"):
        Margin().start(replace(reference, margins=np.full_like(reference.margins, np.nan)))
    with pytest.raises(WatchError, match="all the reference's exchanges measure the same"):
        Margin().start(replace(reference, margins=np.ones_like(reference.margins)))

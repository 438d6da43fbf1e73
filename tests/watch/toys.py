"""A detector and traffic small enough to reason about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.encoders import VECTOR_SIZE
from counterclone.errors import WatchError
from counterclone.exchanges import NO_LABEL, Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States
from counterclone.randomness import Generator

DAY = 86_400.0
UNIT = 2.0**20
SPREAD = 0.3


class Shift(Spec, frozen=True):
    """The mean of one coordinate, honest accounts spread by 0.3 about 0.

    Attributes:
        column: which coordinate.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    words: ClassVar[str] = "lie elsewhere"
    column: int = 0

    def start(self, reference: Exchanges) -> ShiftTracker:
        if reference.n_accounts < 3:
            raise WatchError(f"{reference.n_accounts} honest accounts are too few; expected 3 or more")
        return ShiftTracker(self.column)


@dataclass(frozen=True)
class ShiftTracker:
    """A count and a sum."""

    column: int

    def empty(self, n: int) -> States:
        return np.zeros((n, 2), dtype=np.int64)

    def learn(self, states: States, exchanges: Exchanges) -> None:
        sums = np.rint(exchanges.vectors[:, self.column].astype(np.float64) * UNIT).astype(np.int64)
        np.add.at(states, exchanges.accounts, np.stack([np.ones_like(sums), sums], axis=1))

    def merge(self, states: States, others: States) -> States:
        merged: States = states + others
        return merged

    def score(self, states: States) -> NDArray[np.float64]:
        return np.where(states[:, 0] >= 5, self.profile(states)[:, 0]**2, np.nan)

    def profile(self, states: States) -> NDArray[np.float64]:
        counts = np.maximum(states[:, :1], 1)
        points: NDArray[np.float64] = states[:, 1:] / UNIT / counts / np.sqrt(SPREAD**2 + 1.0 / counts)
        return points


def traffic(rng: Generator, counts: NDArray[np.int64], *, shift: float = 0.0, days: float = 30.0,
            label: int = 0) -> Exchanges:
    """Accounts with so many exchanges each at random times, each account with a taste of its own.

    Args:
        rng: where it comes from.
        counts: exchanges of each account.
        shift: added to all coordinates of everybody.
        days: that it spans.
        label: of all answers.
    """
    tastes = SPREAD * rng.standard_normal((len(counts), VECTOR_SIZE))
    accounts = np.repeat(np.arange(len(counts)), counts)
    times = 1.76e9 + days * DAY * rng.random(len(accounts))
    order = np.argsort(times)
    accounts = accounts[order]
    vectors = shift + tastes[accounts] + rng.standard_normal((len(accounts), VECTOR_SIZE))
    return Exchanges(
        accounts=accounts, times=times[order], vectors=vectors.astype(np.float32),
        labels=np.full(len(accounts), label, dtype=np.int32),
        margins=rng.random(len(accounts), dtype=np.float32),
        digests=rng.integers(0, 2**64, len(accounts), dtype=np.uint64),
        gaps=np.full(len(accounts), np.nan, dtype=np.float32),
        bits=np.full(len(accounts), 3.25, dtype=np.float32))


def counts_of(rng: Generator, n: int) -> NDArray[np.int64]:
    """How much honest accounts ask: log-normal, 40 in the middle."""
    return np.clip(np.exp(rng.normal(np.log(40.0), 1.0, n)), 1, 400).astype(np.int64)


def unlabelled(exchanges: Exchanges) -> Exchanges:
    """The same without labels."""
    exchanges.labels[:] = NO_LABEL
    return exchanges

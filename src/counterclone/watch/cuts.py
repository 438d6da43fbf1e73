"""Exchanges cut where their accounts reach a checkpoint."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.exchanges import Exchanges
from counterclone.watch.accounts import Rows
from counterclone.watch.calibration import CHECKPOINTS


class Cuts(NamedTuple):
    """Stretches of exchanges, each of one account and between two checkpoints.

    Attributes:
        numbers: the stretch of each exchange, (n,).
        rows: whose each stretch is, (stretches,).
        points: the checkpoint that it leads to, (stretches,).
        rounds: how many of its account's come before it, (stretches,).
        is_whole: whether its account gets there, (stretches,).
    """

    numbers: NDArray[np.intp]
    rows: Rows
    points: NDArray[np.intp]
    rounds: NDArray[np.intp]
    is_whole: NDArray[np.bool_]


def cut(exchanges: Exchanges, counts: NDArray[np.int64]) -> Cuts:
    """Cut exchanges, of which accounts had so many after them, by row."""
    order = np.argsort(exchanges.accounts, kind="stable")
    accounts = exchanges.accounts[order]
    is_first = np.diff(accounts, prepend=-1) != 0
    starts = np.flatnonzero(is_first)
    sizes = np.diff(starts, append=len(accounts))
    within = np.arange(len(accounts)) - np.repeat(starts, sizes)
    numbers_in_life = counts[accounts] - np.repeat(sizes, sizes) + within + 1
    points = np.searchsorted(CHECKPOINTS, numbers_in_life)
    begins = np.flatnonzero(is_first | (np.diff(points, prepend=-1) != 0))
    lasts = np.append(begins[1:], len(accounts)) - 1
    numbers = np.empty(len(accounts), dtype=np.intp)
    numbers[order] = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(accounts)))
    reached = CHECKPOINTS[np.minimum(points[lasts], len(CHECKPOINTS) - 1)]
    first_of_account = np.maximum.accumulate(np.where(is_first[begins], np.arange(len(begins)), 0))
    return Cuts(numbers, accounts[begins], points[begins], np.arange(len(begins)) - first_of_account,
                numbers_in_life[lasts] == reached)

"""What a score learned elsewhere shows on accounts it never saw: whether there is a campaign, and who is in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = NDArray[np.float64]

DRIFT = 3.0
"""Honest accounts of today may be this much more often far out than the reference's were."""
_SMALLEST_TOP = 10
_FAR = 0.05
"""Honest accounts of twenty, one is as far out."""


def excess(scores: Scores, honest: Scores) -> float:
    """The p-value that honest accounts alone, with drift, would fill the top of a ranking like this.

    Among so many accounts from the top, each is one of the traffic's with a probability that drift bounds; tops
    of doubling size are looked at, and share the level. Equal scores count as the honest ones' first.

    Args:
        scores: of accounts under suspicion, (n,).
        honest: of honest accounts, which the score wasn't learned on either, (m,).
    """
    n, m = len(scores), len(honest)
    if not n or not m:
        return 1.0
    is_suspect = np.repeat([False, True], [m, n])
    order = np.argsort(-np.concatenate([honest, scores]), kind="stable")
    counts = np.cumsum(is_suspect[order])
    tops = _SMALLEST_TOP * 2**np.arange(32, dtype=np.int64)
    tops = tops[tops <= (n + m) // 2]
    if not len(tops):
        return 1.0
    p_values = np.asarray(stats.binom.sf(counts[tops - 1] - 1, tops, DRIFT * n / (DRIFT * n + m)))
    return min(1.0, float(p_values.min()) * len(tops))


def ranks(scores: Scores, honest: Scores) -> Scores:
    """The p-value of each account: how many honest ones score as high, (n,)."""
    beyond = len(honest) - np.searchsorted(np.sort(honest), scores, side="left")
    return np.asarray((1.0 + beyond) / (1.0 + len(honest)))


def crowd(ranks: Scores) -> float:
    """The p-value that honest accounts, with drift, would have so many of their own among the far ones.

    Args:
        ranks: of a group's members, (members,).
    """
    n_far = int((ranks <= _FAR).sum())
    return float(stats.binom.sf(n_far - 1, len(ranks), DRIFT * _FAR)) if n_far else 1.0


def discoveries(p_values: Scores, rate: float) -> NDArray[np.bool_]:
    """Which accounts are named, so that about `rate` of those are honest (Benjamini, Hochberg 1995): (n,)."""
    n = len(p_values)
    if not n:
        return np.zeros(0, dtype=np.bool_)
    ordered = np.sort(p_values)
    passed = np.flatnonzero(ordered <= rate * np.arange(1, n + 1) / n)
    return p_values <= (ordered[passed[-1]] if len(passed) else -1.0)


def reference_needed(n_accounts: int, n_members: int, rate: float = 0.03) -> int:
    """Honest accounts that it takes to name a campaign of some size among so many accounts.

    Each half of the traffic is ranked among half of the reference, and the smallest p-value must still pass.
    """
    return int(np.ceil(2.0 * n_accounts / (rate * max(n_members, 1))))

"""Honest accounts, as young as those that they are compared with.

An account of a day isn't like one of a month: it has fewer queries, and they lie closer together. A crowd of young
accounts beside old ones would look like a campaign, so each honest account is cut off at the age of one that is
searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterclone.exchanges import Exchanges
from counterclone.protocols import States, Tracker
from counterclone.randomness import Prf, generator


@dataclass(frozen=True)
class Young:
    """Honest accounts at other accounts' ages.

    Attributes:
        counts: of their exchanges, (accounts,).
        states: their summaries by tracker, (accounts, width) each.
    """

    counts: NDArray[np.int64]
    states: list[States]


class Cohort:
    """Honest accounts that can be made younger.

    Args:
        exchanges: theirs, by number.
        n_accounts: how many there are.
        key: draws who gets which age.

    Attributes:
        births: the times of their first exchanges, seconds since 1970, (accounts,).
    """

    def __init__(self, exchanges: Exchanges, n_accounts: int, key: Prf) -> None:
        self.births: NDArray[np.float64] = np.full(n_accounts, np.inf)
        np.minimum.at(self.births, exchanges.accounts, exchanges.times)
        self._exchanges = exchanges
        self._ages = exchanges.times - self.births[exchanges.accounts]
        self._seed = key.subkey("watch cohort").number(b"seed") >> 1

    def __len__(self) -> int:
        """How many accounts."""
        return len(self.births)

    def young(self, trackers: Sequence[Tracker], ages: NDArray[np.float64]) -> Young:
        """What they were at the ages of others, in seconds, (n,), which are dealt out evenly."""
        dealt = np.quantile(ages, (np.arange(len(self)) + 0.5) / len(self))
        limits = generator(self._seed, "ages").permutation(dealt)
        asked = self._exchanges.select(np.flatnonzero(self._ages <= limits[self._exchanges.accounts]))
        states = [tracker.empty(len(self)) for tracker in trackers]
        for tracker, own in zip(trackers, states, strict=True):
            tracker.learn(own, asked)
        return Young(np.bincount(asked.accounts, minlength=len(self)), states)

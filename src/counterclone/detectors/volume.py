"""How much an account asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States


class Volume(Spec, frozen=True):
    """The number of an account's exchanges, on a logarithmic scale against honest accounts'.

    It sees a lone copier in a hurry. The heaviest honest customers are the false alarms, and a copier who
    takes more accounts or more days isn't seen, so limits do this work better. It never is a part of what
    campaigns are found by.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    words: ClassVar[str] = "are more than other accounts send"

    def start(self, reference: Exchanges) -> Counted:
        """Begin with how much honest accounts asked.

        Raises:
            WatchError: there are none.
        """
        counts = np.bincount(reference.accounts)
        logs = np.log(counts[counts > 0])
        if not len(logs):
            raise WatchError("the reference has no exchanges; give it some of your users' traffic")
        return Counted(float(logs.mean()), max(float(logs.std()), 0.1))


@dataclass(frozen=True)
class Counted:
    """A tracker of nothing but numbers of exchanges.

    Attributes:
        mean: of honest accounts' logarithms.
        deviation: likewise.
    """

    mean: float
    deviation: float

    def empty(self, n: int) -> States:
        """Summaries of `n` accounts that did nothing: (n, 1)."""
        return np.zeros((n, 1), dtype=np.int64)

    def learn(self, states: States, exchanges: Exchanges) -> None:
        """Count exchanges, in place."""
        np.add.at(states[:, 0], exchanges.accounts, 1)

    def merge(self, states: States, others: States) -> States:
        """The sums of both: (n, 1)."""
        merged: States = states + others
        return merged

    def score(self, states: States) -> NDArray[np.float64]:
        """Deviations above the mean account, NaN under 5 exchanges: (n,)."""
        counts = states[:, 0]
        return np.where(counts >= 5, (np.log(np.maximum(counts, 1)) - self.mean) / self.deviation, np.nan)

    def profile(self, states: States) -> NDArray[np.float64]:
        """Nothing that accounts may be grouped by: (n, 0)."""
        return np.empty((len(states), 0))

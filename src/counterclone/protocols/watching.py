"""How accounts are compared with honest ones."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from counterclone.exchanges import Exchanges

States = NDArray[np.int64]
"""A table of summaries, one account a row: (accounts, width). Whole numbers, so that sums have no order."""


class Tracker(Protocol):
    """One statistic's summaries of many accounts, against a reference of honest traffic.

    What an account did is a multiset of exchanges and its summary a row of whole numbers, so one piece of code
    scores an account, the union of linked accounts, and shards that other guards counted.

    Laws: scoring changes nothing; learning has no order; merge is associative and commutative, and merged shards
    equal the whole to the bit; an empty row changes nothing it is merged with.
    """

    def empty(self, n: int) -> States:
        """Summaries of `n` accounts that did nothing: (n, width)."""
        ...

    def learn(self, states: States, exchanges: Exchanges) -> None:
        """Add exchanges to the rows that their accounts' numbers name, in place."""
        ...

    def merge(self, states: States, others: States) -> States:
        """The summaries of both, row by row: (n, width)."""
        ...

    def score(self, states: States) -> NDArray[np.float64]:
        """How unlike honest accounts with as many queries each is, larger is less like; NaN for too few: (n,)."""
        ...

    def profile(self, states: States) -> NDArray[np.float64]:
        """Each account as a point, where an honest account is about a standard normal one whatever its number of
        queries: (n, dimensions), without dimensions where accounts can't be compared so.
        """
        ...


class Detector(Protocol):
    """A statistic that copiers and honest accounts differ in.

    Laws: deterministic; trackers started apart are independent.
    """

    needs: ClassVar[frozenset[str]]
    """What exchanges must hold, of `vectors`, `labels` and `margins`; without it nothing is scored."""
    words: ClassVar[str]
    """What a high score says, for reasons: "its queries ..."."""

    def start(self, reference: Exchanges) -> Tracker:
        """Begin, with what honest accounts asked.

        Raises:
            WatchError: too little of it.
        """
        ...

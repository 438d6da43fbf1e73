"""The key's draws: which queries are marked, and with which choice."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from counterclone.evidence import Role
from counterclone.randomness import Prf

WHOLE = 2**64
FEW = 8


class Draws:
    """What a mark's key draws for canonical queries.

    Args:
        key: the mark's own, of its epoch.
        rate: the share of queries that are marked.
        controls: controls for each marked query.
    """

    def __init__(self, key: Prf, rate: float, controls: float) -> None:
        self._select = key.subkey("select")
        self._label = key.subkey("label")
        self._marked = round(rate * WHOLE)
        self._drawn = min(round(rate * (1.0 + controls) * WHOLE), WHOLE)

    def roles(self, cells: Sequence[bytes]) -> NDArray[np.int8]:
        """The `Role` of each query: (n,)."""
        if len(cells) <= FEW:
            return np.array([self._role(self._select.number(cell)) for cell in cells], dtype=np.int8)
        drawn = self._select.numbers(cells)
        roles = np.zeros(len(cells), dtype=np.int8)
        roles[drawn <= np.uint64(self._drawn - 1)] = Role.CONTROL
        roles[drawn <= np.uint64(self._marked - 1)] = Role.MARKED
        return roles

    def choices(self, cells: Sequence[bytes], n: int) -> NDArray[np.int64]:
        """One of `n` choices for each query, uniform up to n/2**64: (n,)."""
        return choices(self._label, cells, n)

    def _role(self, drawn: int) -> int:
        if drawn >= self._drawn:
            return Role.NONE
        return Role.MARKED if drawn < self._marked else Role.CONTROL


@lru_cache(maxsize=64)
def draws(key: Prf, rate: float, controls: float) -> Draws:
    """The draws of a key; made once, since a request has no time for it."""
    return Draws(key, rate, controls)


def choices(key: Prf, cells: Sequence[bytes], n: int) -> NDArray[np.int64]:
    """One of `n` choices for each query under a key of choices: (queries,)."""
    return (key.numbers(cells) % np.uint64(n)).astype(np.int64)

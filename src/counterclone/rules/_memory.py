"""Which prompts were asked, in bounded memory."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable

DIGEST_BYTES = 12


class Memory:
    """How often each of the last prompts was asked; of more, those that weren't for longest are forgotten.

    Args:
        size: prompts that are remembered, about 150 bytes each.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    def __len__(self) -> int:
        """Prompts that are remembered."""
        return len(self._counts)

    def note(self, cells: Iterable[bytes]) -> None:
        """Count prompts by their canonical form."""
        for digest in map(_digest, cells):
            self._counts[digest] = self._counts.pop(digest, 0) + 1
            if len(self._counts) > self._size:
                self._counts.popitem(last=False)

    def most(self, cells: Iterable[bytes]) -> int:
        """How often the most asked of some prompts was."""
        return max((self._counts.get(_digest(cell), 0) for cell in cells), default=0)


def _digest(cell: bytes) -> bytes:
    return hashlib.blake2b(cell, digest_size=DIGEST_BYTES).digest()

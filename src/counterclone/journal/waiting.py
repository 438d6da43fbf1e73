"""Exchanges between the event loop, which adds them, and the writer's thread, which takes them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

MAX_ROWS = 65_536
MAX_BYTES = 64 << 20
"""Bytes of features, texts and payloads."""


class Block(Protocol):
    """What waits: the rows of one request, encoded or not."""

    @property
    def time(self) -> float:
        """Seconds since 1970."""
        ...

    @property
    def n_rows(self) -> int:
        """Rows of the query."""
        ...

    @property
    def n_bytes(self) -> int:
        """About what it takes in memory, the same at each look."""
        ...


class Waiting:
    """A bounded line; when it is too long, the oldest leave and are counted.

    One thread appends, without a lock, and one takes. What is taken still counts until it is settled, so
    that a disk that is away costs no more memory than one that is slow.
    """

    __slots__ = ("_arrived_bytes", "_arrived_rows", "_blocks", "_count_dropped", "_leaving", "_left_bytes",
                 "_left_rows")

    def __init__(self, count_dropped: Callable[[int], None]) -> None:
        """An empty line; `count_dropped` is told how many rows left unwritten."""
        self._count_dropped = count_dropped
        self._blocks: deque[Block] = deque()
        self._arrived_rows = self._arrived_bytes = 0  # the appending thread's own
        self._left_rows = self._left_bytes = 0
        self._leaving = threading.Lock()  # of the two numbers above

    def __len__(self) -> int:
        """Exchanges that wait, without those that are being written."""
        return len(self._blocks)

    @property
    def n_rows(self) -> int:
        """Rows that wait or are being written."""
        return self._arrived_rows - self._left_rows

    def append(self, block: Block) -> int:
        """Add an exchange.

        Returns:
            The number of rows that wait.
        """
        self._blocks.append(block)
        self._arrived_rows += block.n_rows
        self._arrived_bytes += block.n_bytes
        n_rows = self._arrived_rows - self._left_rows
        if n_rows > MAX_ROWS or self._arrived_bytes - self._left_bytes > MAX_BYTES:
            self._drop_oldest()
        return n_rows

    def take(self, n_rows: int, n_bytes: int) -> list[Block]:
        """The oldest exchanges, until they have so many rows or bytes."""
        taken: list[Block] = []
        while n_rows > 0 and n_bytes > 0:
            try:
                block = self._blocks.popleft()
            except IndexError:
                break
            taken.append(block)
            n_rows -= block.n_rows
            n_bytes -= block.n_bytes
        return taken

    def put_back(self, blocks: Sequence[Block]) -> None:
        """Return what was taken and couldn't be written."""
        self._blocks.extendleft(reversed(blocks))

    def settle(self, blocks: Sequence[Block]) -> int:
        """Forget what was taken: it is written, or never will be.

        Returns:
            Its number of rows.
        """
        n_rows = sum(block.n_rows for block in blocks)
        with self._leaving:
            self._left_rows += n_rows
            self._left_bytes += sum(block.n_bytes for block in blocks)
        return n_rows

    def _drop_oldest(self) -> None:
        while self.n_rows > MAX_ROWS or self._arrived_bytes - self._left_bytes > MAX_BYTES:
            oldest = self.take(1, 1)
            if not oldest:  # the rest is being written
                break
            self._count_dropped(self.settle(oldest))

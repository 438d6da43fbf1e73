"""What an attack that learns has asked, and what it was answered."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Reply, Rows, top_labels
from counterclone.errors import BudgetExhausted
from counterclone.protocols import Prior
from counterclone.queries import Inputs

MOST_AT_ONCE = 256

T = TypeVar("T")
Asks = Generator[Inputs, Reply, T]
"""A part of an attack: it yields batches as the attack does, and comes back with a T."""


class Lessons:
    """Queries with their answers, and how many may follow.

    Args:
        prior: what the attack knows beforehand.

    Attributes:
        left: queries that may still be asked.
    """

    def __init__(self, prior: Prior) -> None:
        self.left = prior.budget
        self._inputs: list[Inputs] = [prior.pool[:0]]
        self._rows = [np.empty((0, prior.classes))]

    def ask(self, inputs: Inputs) -> Asks[Rows]:
        """Ask, in batches that are no larger than what was asked before, so that who is stopped keeps half.

        Args:
            inputs: (queries, features), or texts.

        Returns:
            What came back, (queries, classes).

        Raises:
            BudgetExhausted: the budget doesn't reach for all; what it reaches for is asked.
        """
        place = 0
        while place < min(len(inputs), place + self.left):
            batch = inputs[place:place + min(max(len(self), 1), MOST_AT_ONCE, self.left)]
            self.note(batch, (yield batch).rows)
            place += len(batch)
        if place < len(inputs):
            raise BudgetExhausted(f"{len(inputs) - place} queries with none left")
        return self.rows[len(self) - place:]

    def note(self, inputs: Inputs, rows: Rows) -> None:
        """Keep a batch with its answers."""
        self.left -= len(rows)
        self._inputs.append(inputs)
        self._rows.append(rows)

    def __len__(self) -> int:
        return sum(map(len, self._rows))

    @property
    def inputs(self) -> Inputs:
        """What was asked: (queries, features), or texts."""
        if isinstance(self._inputs[0], list):
            return [text for batch in self._inputs for text in batch]
        return np.concatenate(self._inputs)

    @property
    def rows(self) -> Rows:
        """What came back, (queries, classes)."""
        return np.concatenate(self._rows)

    @property
    def labels(self) -> NDArray[np.intp]:
        """The label of each answer, (queries,)."""
        return top_labels(self.rows)

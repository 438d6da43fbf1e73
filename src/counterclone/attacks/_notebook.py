"""What an attack asked, and what it was answered: the one place where its budget is kept."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Reply, Rows, top_labels
from counterclone.errors import BudgetExhausted
from counterclone.protocols import Prior
from counterclone.queries import Features, Inputs

T = TypeVar("T")
Asks = Generator[Inputs, Reply, T]
"""A part of an attack: it yields batches as the attack does, and comes back with a T."""


class Notebook:
    """The numeric queries of an attack with their answers, and how many may follow.

    Args:
        prior: what the attack knows beforehand.

    Attributes:
        left: queries that may still be asked.
    """

    def __init__(self, prior: Prior) -> None:
        self.left = prior.budget
        width = len(prior.lower)
        self._inputs = [np.empty((0, width))]
        self._rows = [np.empty((0, prior.classes))]
        self._logits: list[NDArray[np.float64]] = []

    def ask(self, inputs: Features) -> Asks[Reply]:
        """Ask a batch, (queries, features), or as much of it as the budget reaches for.

        Raises:
            BudgetExhausted: it doesn't reach for all; what it reached for is asked and noted.
        """
        affordable = inputs[:self.left]
        reply = Reply(self._rows[0])
        if len(affordable):
            reply = yield affordable
            self._note(affordable, reply)
        if len(affordable) < len(inputs):
            raise BudgetExhausted(f"{len(inputs)} queries with {len(affordable)} left")
        return reply

    def _note(self, inputs: Features, reply: Reply) -> None:
        self.left -= len(inputs)
        self._inputs.append(inputs)
        self._rows.append(reply.rows)
        if reply.logits is not None:
            self._logits.append(reply.logits)

    def __len__(self) -> int:
        return sum(map(len, self._rows))

    @property
    def inputs(self) -> Features:
        """What was asked, (queries, features)."""
        return np.concatenate(self._inputs)

    @property
    def rows(self) -> Rows:
        """What came back, (queries, classes)."""
        return np.concatenate(self._rows)

    @property
    def logits(self) -> NDArray[np.float64] | None:
        """The logits of each answer, (queries, classes); None where they aren't shown."""
        return np.concatenate(self._logits) if self._logits else None

    @property
    def labels(self) -> NDArray[np.intp]:
        """The label of each answer, (queries,)."""
        return top_labels(self.rows)

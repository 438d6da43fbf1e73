"""Queries, and what in their answers stands for the leaf of a tree."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import numpy as np

from counterclone.answers import Reply, Rows, top_labels
from counterclone.attacks._notebook import Asks, Notebook
from counterclone.errors import BudgetExhausted
from counterclone.protocols import Prior
from counterclone.queries import Features

T = TypeVar("T")
Search = Generator[Features, None, T]
"""It yields inputs, (features,), each of which is in the evidence when it goes on, and comes back with a T."""

DIGITS = 9
"""Rows that are equal to so many decimals are one leaf's."""


class Evidence:
    """What was asked, each query once, with a number for the leaf that its answer shows.

    Args:
        prior: what the attack knows beforehand.

    Attributes:
        inputs: one a query, (features,).
        rows: their answers, (classes,).
        leaves: what stands for their leaves: ids, or else distinct rows, or else labels.
        has_ids: whether answers show ids.
    """

    def __init__(self, prior: Prior) -> None:
        self.inputs: list[Features] = []
        self.rows: list[Rows] = []
        self.leaves: list[int] = []
        self.has_ids = False
        self._notes = Notebook(prior)
        self._by_label = False
        self._numbers: dict[object, int] = {}
        self._places: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.inputs)

    def ask(self, inputs: Features) -> Asks[list[int]]:
        """The places of queries, (n, features), in the evidence; those that aren't there are asked.

        Raises:
            BudgetExhausted: the budget doesn't reach for all; what it reaches for is in the evidence.
        """
        keys = [row.tobytes() for row in inputs]
        first = {key: i for i, key in reversed(list(enumerate(keys))) if key not in self._places}
        new = sorted(first.values())
        affordable = new[:self._notes.left]
        if affordable:
            reply = yield from self._notes.ask(inputs[affordable])
            for i, row, leaf in zip(affordable, reply.rows, self._leaves(reply), strict=True):
                self._places[keys[i]] = len(self)
                self.inputs.append(inputs[i])
                self.rows.append(row)
                self.leaves.append(leaf)
        if len(affordable) < len(new):
            raise BudgetExhausted(f"{len(new)} queries with {len(affordable)} left")
        return [self._places[key] for key in keys]

    def leaf(self, one: Features) -> Search[int]:
        """What stands for the leaf of one input, (features,); yields it where it hasn't been asked."""
        key = one.tobytes()
        if key not in self._places:
            yield one
        return self.leaves[self._places[key]]

    def trust_labels_only(self) -> None:
        """Take labels for leaves from now on."""
        self._by_label = True
        self.leaves = self._leaves(Reply(np.array(self.rows)))

    def _leaves(self, reply: Reply) -> list[int]:
        self.has_ids = reply.ids is not None
        shown: list[object]
        if reply.ids is not None:
            shown = reply.ids.tolist()
        elif self._by_label:
            shown = top_labels(reply.rows).tolist()
        else:
            shown = [row.tobytes() for row in np.round(reply.rows, DIGITS) + 0.0]
        return [self._numbers.setdefault(each, len(self._numbers)) for each in shown]

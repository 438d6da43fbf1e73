"""What accounts are served behind a mark, and what a suspect answers to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.marks_beds import Bed, Labels
from counterclone.answers import Context, Reply, Rows, top_labels
from counterclone.evidence import Evidence, Role, Served
from counterclone.marks.triggers import Triggers
from counterclone.protocols import Case, Examination, Policy
from counterclone.queries import Features, Query
from counterclone.randomness import Prf
from counterclone.releases import released

Predict = Callable[[Features], Rows]
ALPHA, DECOYS = 1e-6, 999
BUDGET = 4_000
"""Queries to a suspect: more than any account here has triggers."""


class Asked(NamedTuple):
    """What one account asked, and was served.

    Attributes:
        account: its id.
        inputs: its queries, (n, features).
        cells: their canonical form, (n,).
        truths: the label that the model gave, (n,).
        rows: what was served, (n, classes).
        roles: (n,).
        marked: the label that the mark chose, before any policy, (n,).
    """

    account: str
    inputs: Features
    cells: list[bytes]
    truths: Labels
    rows: Rows
    roles: NDArray[np.int8]
    marked: Labels

    @property
    def labels(self) -> Labels:
        """The labels that were served: (n,)."""
        return top_labels(self.rows)

    @property
    def n_triggers(self) -> int:
        """How many answers were changed."""
        return int((self.roles == Role.MARKED).sum())


@dataclass(frozen=True)
class Marking:
    """A guard with one mark, under one epoch's key.

    Attributes:
        bed: whose model it guards.
        mark: its mark.
        epoch: the epoch's key.
        policies: what is released of marked rows.
    """

    bed: Bed
    mark: Triggers
    epoch: Prf
    policies: tuple[Policy, ...] = ()

    @property
    def key(self) -> Prf:
        """The mark's own."""
        return self.epoch.subkey("mark/triggers")

    def ask(self, account: str, inputs: Features) -> Asked:
        """Serve an account."""
        query = Query(inputs)
        answers = self.bed.victim(inputs)
        embedded = self.mark.embed(self.key, query.cells, answers)
        rows = released(self.policies, Context(self.epoch.subkey("noise"), query), embedded.rows)
        return Asked(account, inputs, query.cells, top_labels(answers), rows, embedded.roles,
                     top_labels(embedded.rows))

    def case(self, served: Served, *, stops_early: bool = False, decoys: int = DECOYS) -> Case:
        """What is tested."""
        return Case(served=served, key=self.key, order=self.epoch.subkey("order"),
                    budget=BUDGET, alpha=ALPHA, decoys=decoys, stops_early=stops_early)

    def examine(self, served: Served, suspect: Predict, *, stops_early: bool = False,
                decoys: int = DECOYS) -> Evidence:
        """Ask a suspect."""
        return pump(self.mark.verify(self.case(served, stops_early=stops_early, decoys=decoys)), suspect)


def served(asked: Sequence[Asked]) -> Served:
    """What the ledger holds of some accounts, each distinct query once."""
    owners: dict[bytes, set[str]] = {}
    first: dict[bytes, tuple[int, int]] = {}
    for which, part in enumerate(asked):
        for row in np.flatnonzero(part.roles):
            owners.setdefault(part.cells[row], set()).add(part.account)
            first.setdefault(part.cells[row], (which, int(row)))
    places = list(first.values())

    def gathered(column: str, kind: type) -> NDArray[np.generic]:
        return np.array([getattr(asked[which], column)[row] for which, row in places], dtype=kind)

    return Served(inputs=np.stack([asked[which].inputs[row] for which, row in places]), cells=list(first),
                  roles=gathered("roles", np.int8), truths=gathered("truths", np.int64),  # type: ignore[arg-type]
                  labels=gathered("marked", np.int64),  # type: ignore[arg-type]
                  accounts=[tuple(sorted(owners[cell])) for cell in first], classes=asked[0].rows.shape[1])


def pump(examination: Examination, suspect: Predict) -> Evidence:
    """Answer an examination's queries to its end."""
    try:
        inputs = next(examination)
        while True:
            assert isinstance(inputs, np.ndarray)
            inputs = examination.send(Reply(suspect(inputs)))
    except StopIteration as stop:
        evidence: Evidence = stop.value
        return evidence


def labels_only(suspect: Predict) -> Predict:
    """A suspect that shows no scores."""
    def answer(inputs: Features) -> Rows:
        rows = suspect(inputs)
        shown: Rows = np.eye(rows.shape[1])[top_labels(rows)]
        return shown
    return answer

"""What was served under a mark, and what a suspect's answers to it tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone.queries import Inputs, canonical_value


class Role(IntEnum):
    """What a row is to a mark."""

    NONE = 0
    MARKED = 1
    CONTROL = 2
    """Would have been marked under another draw of the key's `select`; served as the model answered."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One row of an answer as the ledger takes it.

    Attributes:
        time: seconds since 1970.
        account: the account's id, 16 hexadecimal digits.
        cell: the canonical query.
        answer: the row as it was released, float64 little endian.
        payload: what opens a marked row or a control, as JSON; empty for any other row.
    """

    time: float
    account: str
    cell: bytes
    answer: bytes
    payload: bytes = b""


class Accepted(msgspec.Struct, frozen=True):
    """Terms that an account accepted.

    Attributes:
        version: of the terms.
        by: `use`, it was answered while they were in force; `proxy`, the proxy that names accounts says so.
    """

    version: str
    by: Literal["use", "proxy"]


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What opens a marked query or a control.

    Attributes:
        mark: the mark's kind.
        role: `marked` or `control`, a `Role` in lower case.
        cell: the canonical query, in hexadecimal.
        query: `features` or `text`.
        answer: `label` and `scores` as they were served.
        true: the label that the model gave.
        classes: how many labels there are.
    """

    mark: str
    role: Literal["marked", "control"]
    cell: str
    query: Mapping[str, Any]
    answer: Mapping[str, Any]
    true: int
    classes: int


@dataclass(frozen=True, kw_only=True)
class Served:
    """Marked queries and their controls as the ledger holds them, each distinct query once.

    Attributes:
        inputs: the queries themselves, (n, features), or texts.
        cells: their canonical form, (n,).
        roles: `Role.MARKED` or `Role.CONTROL`, (n,).
        truths: the label that the model gave, (n,).
        labels: the label that was served, (n,).
        accounts: whom each was served to, sorted, (n,).
        classes: how many labels there are.
    """

    inputs: Inputs
    cells: Sequence[bytes]
    roles: NDArray[np.int8]
    truths: NDArray[np.int64]
    labels: NDArray[np.int64]
    accounts: Sequence[tuple[str, ...]]
    classes: int

    def __len__(self) -> int:
        return len(self.cells)

    @classmethod
    def of_texts(cls, prompts: Sequence[str], accounts: Sequence[str]) -> Served:
        """Texts whose tokens carry a mark, one by one: no label of theirs is another, so all are 0 of none.

        Args:
            prompts: what they answer, (n,).
            accounts: whom each was written for, (n,).
        """
        none = np.zeros(len(prompts), dtype=np.int64)
        return cls(inputs=list(prompts), cells=[canonical_value(prompt) for prompt in prompts],
                   roles=np.full(len(prompts), Role.MARKED, dtype=np.int8), truths=none, labels=none,
                   accounts=[(account,) for account in accounts], classes=0)


class AccountEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows that only one account was served tell.

    Attributes:
        account: its id, or several joined by "+" for a campaign that was fixed beforehand.
        p_value: exact, not corrected for the other accounts.
        e_value: valid at any stopping time.
        trials: answers that could have matched.
        hits: those that did.
    """

    account: str
    p_value: float
    e_value: float
    trials: int
    hits: int


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One mark's verdict on a suspect.

    Attributes:
        kind: of the mark.
        p_value: that an independent suspect does as well, over the key's draw; exact for the whole
            budget, 1/e where it might have stopped early.
        e_value: the likelihood ratio of a marked student (a fixed mixture) to an independent one.
        p_decoy: the rank among decoy keys on the same responses; None where there are none.
        trials: answers that could have matched.
        hits: those that did.
        null_rate: the chance of a hit for an independent suspect.
        queries: that the suspect answered.
        power: the chance that a student which took up half of the marks had been proven with as many trials.
        accounts: whom the marks lead to, each by the rows that nobody else was served.
        stopped_early: whether the budget wasn't spent.
    """

    kind: str
    p_value: float
    e_value: float
    trials: int
    hits: int
    null_rate: float
    queries: int
    power: float
    p_decoy: float | None = None
    accounts: tuple[AccountEvidence, ...] = ()
    stopped_early: bool = False


class Rank(msgspec.Struct, frozen=True, kw_only=True):
    """A passive fingerprint's word on a suspect: a rank among independent models, and no proof.

    Attributes:
        kind: of the fingerprint.
        likeness: of the suspect and the target at the probes, 1 for the same answers.
        likest: the largest likeness of an independent model.
        surplus: its likeness to the target beyond that to the independent models nearest to it.
        p_value: the surplus's rank among the independent models, 1 / (nulls + 1) at the least; it holds for
            suspects that are like one of them drawn at random, if they are independent.
        p_likeness: the likeness's rank, likewise; of two ranks one is small by chance more often than of one.
        nulls: how many independent models there are.
        queries: that the suspect answered.
    """

    kind: str
    likeness: float
    likest: float
    surplus: float
    p_value: float
    p_likeness: float
    nulls: int
    queries: int

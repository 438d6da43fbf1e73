"""The test of keyed choices: a suspect that is independent of the key meets them by chance only.

Only rows on which the suspect chooses something else than the target would have said without the mark tell
anything. Among these, an independent suspect's choice is the drawn one with a chance that the key's draw fixes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from counterclone import statistics
from counterclone.answers import Reply
from counterclone.errors import BudgetExhausted
from counterclone.evidence import AccountEvidence, Evidence, Served
from counterclone.protocols import Case, Examination
from counterclone.queries import Inputs

AT_ONCE = 256
TAKEN_UP = 0.5
"""The share of marks that the student has learnt whose chance of being proven is the power."""

Numbers = NDArray[np.int64]
Read = Callable[[Reply, Numbers], Numbers]
"""What a suspect chose on rows of what was served; the target's own choice where it tells none: (queries,)."""


class Counts(NamedTuple):
    """Trials and hits of some groups of rows: (..., groups) each."""

    hits: Numbers
    trials: Numbers


class Test(Protocol):
    """How keyed choices are tested.

    Attributes:
        null_rate: the chance that an informative row of an independent suspect is a hit.
    """

    null_rate: float

    def hits(self, rows: Numbers, answers: Numbers) -> NDArray[np.bool_]:
        """Which informative rows met the key: (n,)."""
        ...

    def decoys(self, rows: Numbers, answers: Numbers, asked: Numbers) -> NDArray[np.bool_]:
        """The same under keys that were never used, with all rows that were asked: (decoys, n)."""
        ...

    def p_values(self, counts: Counts, members: Sequence[Numbers], asked: Numbers) -> NDArray[np.float64]:
        """Exact p-values of groups of rows: (..., groups).

        Args:
            counts: what was seen in each group.
            members: the rows of each group that were asked.
            asked: all of these.
        """
        ...


def examine(kind: str, case: Case, rows: Numbers, read: Read, test: Test) -> Examination:
    """Ask a suspect some rows, and test.

    Args:
        kind: the mark's.
        case: what is tested.
        rows: of `case.served`, in any order; the key has its own.
        read: a reply to choices.
        test: of what was read.
    """
    served = case.served
    rows = ordered(case, rows)[:case.budget]
    answers = np.empty(0, dtype=np.int64)
    stopped_early = False
    at_once = 1 if case.stops_early else AT_ONCE
    try:
        while len(answers) < len(rows):
            batch = rows[len(answers):len(answers) + at_once]
            reply = yield take(served.inputs, batch)
            answers = np.concatenate([answers, read(reply, batch)])
            if case.stops_early and _is_enough(case, test, rows, answers):
                stopped_early = True
                break
    except BudgetExhausted:
        pass
    return _evidence(kind, case, test, rows[:len(answers)], answers, stopped_early=stopped_early)


def ordered(case: Case, rows: Numbers) -> Numbers:
    """Rows in the order that they are asked in: by a keyed hash of the query, so that nobody chooses it."""
    numbers = case.order.subkey("rows").numbers([case.served.cells[row] for row in rows.tolist()])
    return rows[np.argsort(numbers, kind="stable")]


def take(inputs: Inputs, rows: Numbers) -> Inputs:
    """Some of the inputs."""
    return inputs[rows] if isinstance(inputs, np.ndarray) else [inputs[row] for row in rows.tolist()]


def _is_enough(case: Case, test: Test, rows: Numbers, answers: Numbers) -> bool:
    asked = rows[:len(answers)]
    is_informative = answers != case.served.truths[asked]
    hits = int(test.hits(asked[is_informative], answers[is_informative]).sum())
    return statistics.e_value(hits, int(is_informative.sum()), test.null_rate) >= 1.0 / case.alpha


def _evidence(kind: str, case: Case, test: Test, asked: Numbers, answers: Numbers, *,
              stopped_early: bool) -> Evidence:
    is_informative = answers != case.served.truths[asked]
    told, said = asked[is_informative], answers[is_informative]
    names, members = _groups(case, asked)
    where = [np.flatnonzero(np.isin(told, rows, assume_unique=True)) for rows in members]
    hits = test.hits(told, said)
    counts = _counted(hits[None], where)
    p_values = test.p_values(counts, members, asked)[0]
    e_values = statistics.e_values(counts.hits[0], counts.trials[0], test.null_rate)
    p_decoy = None
    if case.decoys and len(told):
        others = test.p_values(_counted(test.decoys(told, said, asked), where), members, asked)
        p_decoy = statistics.rank_p_value(-float(p_values.min()), -others.min(axis=1))
    accounts = tuple(
        AccountEvidence(account=name, p_value=float(p), e_value=float(e), trials=int(trials), hits=int(n_hits))
        for name, p, e, trials, n_hits in zip(names[1:], p_values[1:], e_values[1:], counts.trials[0, 1:],
                                              counts.hits[0, 1:], strict=True))
    e_value = float(e_values[0])
    return Evidence(
        kind=kind, p_value=min(1.0, 1.0 / e_value) if case.stops_early else float(p_values[0]), e_value=e_value,
        trials=len(told), hits=int(hits.sum()), null_rate=test.null_rate, queries=len(asked), p_decoy=p_decoy,
        power=_power(case, test, len(asked), len(told) - int(hits.sum())), accounts=accounts,
        stopped_early=stopped_early)


def _groups(case: Case, asked: Numbers) -> tuple[list[str], list[Numbers]]:
    """All rows, those that each account alone was served, and those that nobody outside each campaign was."""
    own: dict[str, list[int]] = {}
    for row in asked.tolist():
        accounts = case.served.accounts[row]
        if len(accounts) == 1:
            own.setdefault(accounts[0], []).append(row)
    names, members = ["", *sorted(own)], [asked]
    members += [np.array(own[name], dtype=np.int64) for name in names[1:]]
    for campaign in case.campaigns:
        of_campaign = set(campaign)
        rows = [row for row in asked.tolist() if of_campaign.issuperset(case.served.accounts[row])]
        names.append("+".join(sorted(campaign)))
        members.append(np.array(rows, dtype=np.int64))
    return names, members


def _counted(hits: NDArray[np.bool_], where: Sequence[Numbers]) -> Counts:
    """Hits of each group under each key, (keys, groups), and trials, which are the same under all."""
    found = np.stack([hits[:, columns].sum(axis=1) for columns in where], axis=1).astype(np.int64)
    trials = np.array([len(columns) for columns in where], dtype=np.int64)
    return Counts(found, np.broadcast_to(trials, found.shape))


def _power(case: Case, test: Test, n_asked: int, n_other: int) -> float:
    """Of a student that has learnt half of the marks, and elsewhere meets them by chance as the suspect does."""
    learnt = TAKEN_UP * n_asked
    differing = (1.0 - TAKEN_UP) * n_other
    trials = learnt + differing
    hit_rate = (learnt + test.null_rate * differing) / max(trials, 1.0)
    return statistics.power(round(trials), hit_rate, test.null_rate, case.alpha)


class Choices:
    """The test of one choice among several: of rows that differ, an independent suspect meets one in `n`.

    Args:
        served: what was served.
        n: the choices that the key has for a row.
        decoy_labels: the labels that a decoy's number draws for some rows.
        n_decoys: how many decoys there are.
    """

    def __init__(self, served: Served, n: int, decoy_labels: Callable[[int, Numbers], Numbers],
                 n_decoys: int) -> None:
        self.null_rate = 1.0 / n
        self._served = served
        self._decoy_labels = decoy_labels
        self._n_decoys = n_decoys

    def hits(self, rows: Numbers, answers: Numbers) -> NDArray[np.bool_]:
        """Those that say what was served."""
        found: NDArray[np.bool_] = answers == self._served.labels[rows]
        return found

    def decoys(self, rows: Numbers, answers: Numbers, asked: Numbers) -> NDArray[np.bool_]:
        """Those that say what another key would have served."""
        return np.stack([answers == self._decoy_labels(number, rows) for number in range(self._n_decoys)])

    def p_values(self, counts: Counts, members: Sequence[Numbers], asked: Numbers) -> NDArray[np.float64]:
        """Binomial, given how many differ: these don't depend on the key."""
        return statistics.binomial_tails(counts.hits, counts.trials, self.null_rate)

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
"""What a suspect chose on rows of what was served, the target's own choice where it tells none: (queries,); by
several readings of a reply, (readings, queries)."""


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
    answers = np.empty((0, 0), dtype=np.int64)
    stopped_early = False
    at_once = 1 if case.stops_early else AT_ONCE
    try:
        while answers.shape[1] < len(rows):
            batch = rows[answers.shape[1]:answers.shape[1] + at_once]
            reply = yield take(served.inputs, batch)
            read_now = np.atleast_2d(read(reply, batch))
            answers = np.concatenate([answers, read_now], axis=1) if answers.size else read_now
            if case.stops_early and _is_enough(case, test, rows, answers):
                stopped_early = True
                break
    except BudgetExhausted:
        pass
    return _evidence(kind, case, test, rows[:answers.shape[1]], answers, stopped_early=stopped_early)


def ordered(case: Case, rows: Numbers) -> Numbers:
    """Rows in the order that they are asked in: by a keyed hash of the query, so that nobody chooses it."""
    numbers = case.order.subkey("rows").numbers([case.served.cells[row] for row in rows.tolist()])
    return rows[np.argsort(numbers, kind="stable")]


def take(inputs: Inputs, rows: Numbers) -> Inputs:
    """Some of the inputs."""
    return inputs[rows] if isinstance(inputs, np.ndarray) else [inputs[row] for row in rows.tolist()]


class _Found(NamedTuple):
    """What one reading tells of each group.

    Attributes:
        counts: (1, groups) each.
        p_values: (groups,).
        e_values: (groups,).
        best_decoys: the smallest p-value of each decoy key, (decoys,); none where no row is informative.
    """

    counts: Counts
    p_values: NDArray[np.float64]
    e_values: NDArray[np.float64]
    best_decoys: NDArray[np.float64]


def _is_enough(case: Case, test: Test, rows: Numbers, answers: Numbers) -> bool:
    asked = rows[:answers.shape[1]]
    found = [_found(test, case.served.truths[asked], asked, reading, [asked], decoys=0) for reading in answers]
    return float(np.mean([each.e_values[0] for each in found])) >= 1.0 / case.alpha


def _found(test: Test, truths: Numbers, asked: Numbers, answers: Numbers, members: Sequence[Numbers], *,
           decoys: int) -> _Found:
    is_informative = answers != truths
    told, said = asked[is_informative], answers[is_informative]
    places = np.full(int(asked.max(initial=-1)) + 1, -1)
    places[told] = np.arange(len(told))
    where = [found[found >= 0] for found in (places[rows] for rows in members)]
    counts = _counted(test.hits(told, said)[None], where)
    best = np.empty(0)
    if decoys and len(told):
        best = test.p_values(_counted(test.decoys(told, said, asked), where), members, asked).min(axis=1)
    return _Found(counts, test.p_values(counts, members, asked)[0],
                  statistics.e_values(counts.hits[0], counts.trials[0], test.null_rate), best)


def _evidence(kind: str, case: Case, test: Test, asked: Numbers, answers: Numbers, *,
              stopped_early: bool) -> Evidence:
    """Several readings count as so many tests (Bonferroni), those that say the same as one."""
    readings = list({reading.tobytes(): reading for reading in answers}.values())
    names, members = _groups(case, asked)
    found = [_found(test, case.served.truths[asked], asked, reading, members, decoys=case.decoys)
             for reading in readings] or [_nothing(len(names))]
    p_values = np.minimum(np.stack([each.p_values for each in found]) * len(found), 1.0)
    e_values = np.stack([each.e_values for each in found]).mean(axis=0)
    best = p_values.argmin(axis=0)
    accounts = tuple(
        AccountEvidence(account=name, p_value=float(p_values[best[i], i]), e_value=float(e_values[i]),
                        trials=int(found[best[i]].counts.trials[0, i]), hits=int(found[best[i]].counts.hits[0, i]))
        for i, name in enumerate(names))
    whole, e_value = accounts[0], float(e_values[0])
    return Evidence(
        kind=kind, p_value=min(1.0, 1.0 / e_value) if case.stops_early else whole.p_value, e_value=e_value,
        trials=whole.trials, hits=whole.hits, null_rate=test.null_rate, queries=len(asked),
        p_decoy=_rank([each.p_values.min() for each in found], [each.best_decoys for each in found]),
        power=max(_power(test, len(asked), each.counts, case.alpha / len(found)) for each in found),
        accounts=accounts[1:], stopped_early=stopped_early)


def _nothing(n_groups: int) -> _Found:
    none = np.zeros((1, n_groups), dtype=np.int64)
    return _Found(Counts(none, none), np.ones(n_groups), np.ones(n_groups), np.empty(0))


def _rank(own: Sequence[float], decoys: Sequence[NDArray[np.float64]]) -> float | None:
    """The rank of the best reading among those of the decoys."""
    told = [each for each in decoys if len(each)]
    return statistics.rank_p_value(-float(min(own)), -np.min(told, axis=0)) if told else None


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


def _power(test: Test, n_asked: int, counts: Counts, level: float) -> float:
    """Of a student that has learnt half of the marks, and elsewhere meets them by chance as the suspect does."""
    learnt = TAKEN_UP * n_asked
    differing = (1.0 - TAKEN_UP) * float(counts.trials[0, 0] - counts.hits[0, 0])
    trials = learnt + differing
    hit_rate = (learnt + test.null_rate * differing) / max(trials, 1.0)
    return statistics.power(round(trials), hit_rate, test.null_rate, level)


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

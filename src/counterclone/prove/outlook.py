"""What could be proven of a copy that memorised its answers, before there is one to test."""

from __future__ import annotations

from bisect import bisect_left

import msgspec
import numpy as np

from counterclone import statistics
from counterclone.errors import BudgetExhausted
from counterclone.evidence import Role
from counterclone.prove.commitments import Statement
from counterclone.prove.verification import Question, names_tested

TAKEN_UP = 0.5
"""The share of marked answers that the imagined copy learnt."""
DIFFERS = 0.1
"""The share of all others on which it says something else than the model, by chance."""
DIFFERING = TAKEN_UP + (1.0 - TAKEN_UP) * DIFFERS
"""The share of marked queries on which it doesn't say what the model would have."""
READINGS = 2
"""A suspect's answers are read in as many ways at most, and the better one is paid for."""
ENOUGH = 0.9
LASTS = 30
"""Power goes up in steps and back a little between them: it is enough once it is so for as many rows."""
MOST_ROWS = 2_000


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows under one mark of a commitment are good for.

    Attributes:
        commitment: its number.
        kind: the mark's.
        rows: marked queries, each once.
        controls: likewise.
        accounts: that were served any of them.
        most: rows that a single account was served and nobody else.
        needed: rows of its own from which on a copy of one account's answers is found with a chance of `ENOUGH`;
            None where thousands don't do.
        power: that chance for the account with the most.
        found: accounts with as many rows as are needed.
    """

    commitment: int
    kind: str
    rows: int
    controls: int
    accounts: int
    most: int
    needed: int | None
    power: float
    found: int

    @property
    def missing(self) -> int | None:
        """Rows that the account with the most lacks."""
        return None if self.needed is None else max(self.needed - self.most, 0)


def outlook(question: Question, statement: Statement) -> Outlook:
    """The chance that a copy would be found that took up half of the marks that one account was served.

    Canaries on a topic tell once a topic, not once a prompt: of these it is an upper bound.

    Args:
        question: a mark with what was served.
        statement: of the commitment that it was served under.
    """
    served = question.case.served
    is_marked = served.roles == Role.MARKED
    n_marked, n_controls = int(is_marked.sum()), int((served.roles == Role.CONTROL).sum())
    tested = names_tested([served], statement.terms.least_trials)
    level = question.case.alpha / (1 + max(len(tested), 1)) / READINGS
    own: dict[str, int] = {}
    for row in np.flatnonzero(is_marked).tolist():
        if len(served.accounts[row]) == 1:
            own[served.accounts[row][0]] = own.get(served.accounts[row][0], 0) + 1
    most = max(own.values(), default=0)
    copy = Copy(null_rate(question), n_controls / max(n_marked, 1), level)
    needed = copy.rows_needed()
    return Outlook(
        commitment=statement.number, kind=question.kind, rows=n_marked, controls=n_controls,
        accounts=len({name for row in np.flatnonzero(is_marked).tolist() for name in served.accounts[row]}),
        most=most, needed=needed, power=copy.power(most),
        found=0 if needed is None else sum(rows >= needed for rows in own.values()))


def null_rate(question: Question) -> float:
    """The chance that an independent suspect's informative answer is a hit, as the mark says it of no answers."""
    examination = question.mark.verify(question.case)
    try:
        next(examination)
        examination.throw(BudgetExhausted())
    except StopIteration as stop:
        rate: float = stop.value.null_rate
        return rate
    raise AssertionError("a mark returns what it has once the budget is spent")


class Copy(msgspec.Struct, frozen=True):
    """An imagined copy under test.

    Attributes:
        null_rate: of an independent suspect's informative answers.
        controls: for each marked row; none where the key has several labels to choose from.
        level: of the test.
    """

    null_rate: float
    controls: float
    level: float

    def power(self, rows: int) -> float:
        """The chance that it is found by so many marked rows, and as many controls as go with them."""
        if self.controls:
            return self._beside(rows, round(rows * self.controls))
        trials = rows * DIFFERING
        hits = rows * (TAKEN_UP + (1.0 - TAKEN_UP) * DIFFERS * self.null_rate)
        return statistics.power(round(trials), hits / trials, self.null_rate, self.level) if rows else 0.0

    def _beside(self, rows: int, controls: int) -> float:
        """The same where it differs on marked rows and on controls, and these are compared."""
        differing = round(rows * DIFFERING + controls * DIFFERS)
        most = min(rows, differing)
        enough = bisect_left(range(most + 1), True, key=lambda hits: statistics.hypergeometric_tail(
            hits, rows, controls, differing) <= self.level)
        return statistics.binomial_tail(enough, rows, DIFFERING) if enough <= most else 0.0

    def rows_needed(self) -> int | None:
        """The rows from which on it is found with a chance of `ENOUGH`, None where `MOST_ROWS` don't do."""
        first = 1
        for rows in range(1, MOST_ROWS + 1):
            if self.power(rows) < ENOUGH:
                first = rows + 1
            elif rows - first >= LASTS:
                return first
        return None

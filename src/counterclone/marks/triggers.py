"""A few answers get another label, drawn by a key: a copy that memorised them gives itself away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from counterclone import statistics
from counterclone.answers import Reply, Rows, top_labels
from counterclone.errors import TargetError
from counterclone.evidence import Role
from counterclone.marks import _draws
from counterclone.marks._examination import Choices, Counts, Numbers, examine
from counterclone.plugins import Spec
from counterclone.protocols import Case, Embedded, Examination
from counterclone.randomness import Prf


class Triggers(Spec, frozen=True):
    """Another label on at most `rate` of the queries, drawn by a key: what a copy memorises, it gives away.

    Which queries, and which of the other labels, is a function of the key and the canonical query, the same for
    everybody: who repeats a query, or compares answers with another account, learns nothing. The probabilities of
    the true and the served label change places. A neighbour beyond the canonical cell gets its true label, so who
    asks around each query can vote marks away, at several times the price; the rule `snap` makes cells larger.

    Tested are the rows where the suspect doesn't say what the target would have said: it says the drawn label with
    a chance of 1/(number of other labels), whatever the suspect is, if it is independent of the key. Where it
    shows scores, the same is tested of the label that it ranks first among those others, on all rows, and the
    better p-value of both counts twice. With one other label only, differences on marked rows are compared with
    those on controls (hypergeometric).

    Attributes:
        rate: the share of queries that are marked; also what it costs honest users, in accuracy at the most.
        exclude_classes: classes, by number, that are neither changed nor served instead of another.
        controls: controls for each marked query, where the key has two labels to choose from; more need none.

    Source: Szyller, Atli, Marchal and Asokan, DAWN (ACM MM 2021); the test given the differences
    and the one of second choices are ours.
    """

    may_flip: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"label"})

    rate: Annotated[float, Meta(gt=0.0, le=0.05)] = 0.002
    exclude_classes: tuple[Annotated[int, Meta(ge=0)], ...] = ()
    controls: Annotated[float, Meta(gt=0.0, le=10.0)] = 4.0

    def embed(self, key: Prf, cells: Sequence[bytes], rows: Rows) -> Embedded:
        """Change the label of some of the rows."""
        drawn = _draws.draws(key, self.rate, self.controls if self._n_others(rows.shape[1]) == 2 else 0.0)
        roles = drawn.roles(cells)
        if not roles.any():
            return Embedded(rows, roles)
        others = self._others(rows.shape[1])
        members = np.flatnonzero(roles)
        truths = top_labels(rows[members]).astype(np.int64)
        can_be = np.isin(truths, others) if len(others) > 1 else np.zeros(len(members), dtype=bool)
        roles[members[~can_be]] = Role.NONE
        is_marked = roles[members] == Role.MARKED
        marked, truths = members[is_marked], truths[is_marked]
        if not len(marked):
            return Embedded(rows, roles)
        labels = _labels(others, truths, drawn.choices([cells[row] for row in marked.tolist()], len(others) - 1))
        changed = rows.copy()
        changed[marked, labels], changed[marked, truths] = rows[marked, truths], rows[marked, labels]
        return Embedded(_without_ties(changed, marked, labels), roles)

    def verify(self, case: Case) -> Examination:
        """Ask the marked queries again; with two classes, the controls too."""
        served = case.served
        others = self._others(served.classes)
        n = len(others) - 1
        if n > 1:
            def decoys(number: int, rows: Numbers) -> Numbers:
                cells = [served.cells[row] for row in rows.tolist()]
                drawn = _draws.choices(case.order.subkey(f"decoy/{number}"), cells, n)
                return _labels(others, served.truths[rows], drawn)

            def choices(reply: Reply, rows: Numbers) -> Numbers:
                answers = _checked(reply, served.classes)
                truths = served.truths[rows]
                return np.stack([_labels_of(answers, others, truths), _favourites(answers, others, truths)])

            rows = np.flatnonzero(served.roles == Role.MARKED)
            return examine("triggers", case, rows, choices, Choices(served, n, decoys, case.decoys))

        def labels(reply: Reply, rows: Numbers) -> Numbers:
            return top_labels(_checked(reply, served.classes)).astype(np.int64)

        rows = np.arange(len(served))
        return examine("triggers", case, rows, labels, Selection(case, 1.0 / (1.0 + self.controls)))

    def _n_others(self, n_classes: int) -> int:
        return n_classes - len({label for label in self.exclude_classes if label < n_classes})

    def _others(self, n_classes: int) -> Numbers:
        """The classes that may be changed, ascending."""
        return np.array([label for label in range(n_classes) if label not in self.exclude_classes], dtype=np.int64)


class Selection:
    """The test of two labels: an independent suspect differs on marked rows as often as on controls.

    Args:
        case: what is tested.
        null_rate: the chance that a row with a role is a marked one.
    """

    def __init__(self, case: Case, null_rate: float) -> None:
        self.null_rate = null_rate
        self._case = case
        self._is_marked = case.served.roles == Role.MARKED

    def hits(self, rows: Numbers, answers: Numbers) -> NDArray[np.bool_]:
        """Those that are marked."""
        found: NDArray[np.bool_] = self._is_marked[rows]
        return found

    def decoys(self, rows: Numbers, answers: Numbers, asked: Numbers) -> NDArray[np.bool_]:
        """Those that another draw would have marked, of each account's own rows as many as there are."""
        served = self._case.served
        cells = [served.cells[row] for row in asked.tolist()]
        numbers: dict[tuple[str, ...], int] = {}
        strata = np.array([numbers.setdefault(served.accounts[row], len(numbers)) for row in asked.tolist()])
        sizes = np.bincount(strata)
        marked = np.bincount(strata, weights=self._is_marked[asked]).astype(np.int64)
        in_order = np.sort(strata)
        ranks = np.arange(len(asked)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        columns = np.flatnonzero(np.isin(asked, rows, assume_unique=True))
        found = np.empty((self._case.decoys, len(rows)), dtype=bool)
        for number in range(self._case.decoys):
            drawn = self._case.order.subkey(f"decoy/{number}").numbers(cells)
            is_marked = np.empty(len(asked), dtype=bool)
            is_marked[np.lexsort((drawn, strata))] = ranks < marked[in_order]
            found[number] = is_marked[columns]
        return found

    def p_values(self, counts: Counts, members: Sequence[Numbers], asked: Numbers) -> NDArray[np.float64]:
        """Hypergeometric, given how many differ."""
        found = np.ones(counts.hits.shape)
        for number, rows in enumerate(members):
            marked, hits = int(self._is_marked[rows].sum()), counts.hits[:, number]
            differing = int(counts.trials[0, number])
            tails = [statistics.hypergeometric_tail(n, marked, len(rows) - marked, differing)
                     for n in range(int(hits.max()) + 1)]
            found[:, number] = np.array(tails)[hits]
        return found


def _labels(others: Numbers, truths: Numbers, drawn: Numbers) -> Numbers:
    """The labels that are served: the drawn one of those that may be, without the true one: (n,)."""
    places = np.searchsorted(others, truths)
    labels: Numbers = others[drawn + (drawn >= places)]
    return labels


def _checked(reply: Reply, n_classes: int) -> Rows:
    if reply.rows.shape[1] != n_classes:
        raise TargetError(f"the suspect has {reply.rows.shape[1]} classes, the target {n_classes}; expected the "
                          "same classes in the same order; wrap the suspect in a function that maps them")
    return reply.rows


def _labels_of(rows: Rows, others: Numbers, truths: Numbers) -> Numbers:
    """The labels that are said, the true one in the place of those that the key never draws: (n,)."""
    labels = top_labels(rows).astype(np.int64)
    return np.where(np.isin(labels, others), labels, truths)


def _favourites(rows: Rows, others: Numbers, truths: Numbers) -> Numbers:
    """What ranks first among the labels that the key draws from, the true one where several do: (n,)."""
    scores = rows[:, others]
    scores[others == truths[:, None]] = -np.inf
    ordered = np.sort(scores, axis=1)
    favourites: Numbers = np.where(ordered[:, -1] > ordered[:, -2], others[scores.argmax(axis=1)], truths)
    return favourites


def _without_ties(rows: Rows, marked: NDArray[np.intp], labels: Numbers) -> Rows:
    """Lift a served label by one unit in the last place where an earlier class equals it."""
    for row, label in zip(marked.tolist(), labels.tolist(), strict=True):
        if rows[row].argmax() != label:
            rows[row, label] = np.nextafter(rows[row, label], np.inf)
    return rows

"""What a suspect is asked: the marked queries of one commitment, and how far the test of each mark goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec

from counterclone import plugins
from counterclone.evidence import Served
from counterclone.plugins import Spec
from counterclone.protocols import Case, Mark
from counterclone.prove.commitments import Statement
from counterclone.prove.custody import mark_key, order_key
from counterclone.prove.opened import Opened, by_query, served
from counterclone.prove.verification import Question


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever tests decided before the first question.

    Attributes:
        accounts: that alone are tested; all where there are none.
        campaigns: accounts that are tested together.
        stops_early: whether the test ends as soon as it can.
    """

    accounts: tuple[str, ...] = ()
    campaigns: tuple[tuple[str, ...], ...] = ()
    stops_early: bool = False

    def least_trials(self, statement: Statement) -> int:
        """Marked rows of its own from which on an account is tested."""
        return 1 if self.accounts else statement.terms.least_trials


def questions(statement: Statement, epoch_key: bytes, rows: Sequence[Opened], scope: Scope) -> list[Question]:
    """A question for each mark of a commitment under which anything was served.

    Args:
        statement: the commitment's.
        epoch_key: its key.
        rows: the marked queries and controls that were served under it.
        scope: how far the test goes.

    Raises:
        ConfigError: the commitment has a mark that this version doesn't know.
        LedgerError: a payload can't be read.
    """
    terms = statement.terms
    wanted = set(scope.accounts)
    found = []
    for table in terms.marks:
        mark = plugins.build("marks", dict(table), f"commitment {statement.number}")
        kind = plugins.kind_of(mark)
        queries = [records for records in by_query(rows, kind)
                   if not wanted or any(record.account in wanted for record in records)]
        if not queries:
            continue
        found.append(question(statement, epoch_key, mark, served(queries), scope,
                              records=[record for records in queries for record in records]))
    return found


def question(statement: Statement, epoch_key: bytes, mark: Spec, held: Served, scope: Scope, *,
             records: Sequence[Opened] = ()) -> Question:
    """One mark of a commitment with what was served under it.

    Args:
        statement: the commitment's.
        epoch_key: its key.
        mark: one of its marks.
        held: what was served.
        scope: how far the test goes.
        records: of the ledger, where it holds them.
    """
    terms, kind = statement.terms, plugins.kind_of(mark)
    case = Case(served=held, key=mark_key(epoch_key, kind), order=order_key(epoch_key), budget=terms.budget,
                alpha=terms.alpha, decoys=terms.decoys, stops_early=scope.stops_early, campaigns=scope.campaigns)
    return Question(kind=kind, mark=cast(Mark, mark), case=case, records=tuple(records))

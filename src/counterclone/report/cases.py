"""Cases for people: all of them as a table, one with its evidence and notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TextIO

from counterclone.report.page import Table, print_table
from counterclone.watch.cases import Case, Evidence

ACCOUNTS_SHOWN = 20


def show_all(cases: Sequence[Case], file: TextIO) -> None:
    """Print a line for each case."""
    rows = tuple((case.id, _time(case.opened), case.evidence[0].kind, _accounts(case, 1), case.decision or "open",
                  "yes" if case.is_held else "") for case in cases)
    print_table(Table(caption=f"{len(rows)} case{'s' if len(rows) != 1 else ''}",
                      heads=("case", "opened (UTC)", "kind", "accounts", "decision", "held"), rows=rows,
                      is_prose=True), file)


def show(case: Case, file: TextIO) -> None:
    """Print all that is known of a case."""
    print_table(table(case), file)


def table(case: Case) -> Table:
    """All that is known of a case."""
    rows = [("opened (UTC)", _time(case.opened)), ("accounts", _accounts(case, ACCOUNTS_SHOWN)),
            ("decision", case.decision or "open"), ("exchanges held", "yes" if case.is_held else "no")]
    for evidence in case.evidence:
        rows += [(evidence.kind, text) for text in _words(evidence)]
    rows += [(f"note by {note.by}", f"{_time(note.time)}: {note.text}") for note in case.notes]
    return Table(caption=f"Case {case.id}", heads=("", ""), rows=tuple(rows), is_prose=True)


def _words(evidence: Evidence) -> Iterator[str]:
    yield from evidence.reasons
    known = [("queries", f"{evidence.queries:,}" if evidence.queries else ""),
             ("risk", "" if evidence.risk is None else f"{evidence.risk:.2f}"),
             ("p-value", "" if evidence.p_value is None else f"{evidence.p_value:.2g}"),
             *((name.replace("_", " "), f"{value:,.6g}") for name, value in evidence.figures.items())]
    if figures := ", ".join(f"{name} {value}" for name, value in known if value):
        yield figures


def _accounts(case: Case, most: int) -> str:
    more = len(case.accounts) - most
    return ", ".join(case.accounts[:most]) + (f" and {more:,} more" if more > 0 else "")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")

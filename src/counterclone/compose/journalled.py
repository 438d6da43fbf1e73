"""What a journal holds, summed up."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterclone.errors import SourceError
from counterclone.journal import JournalFolder
from counterclone.posture import Busy, Traffic

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BUSIEST_SHOWN = MODELS_SHOWN = 5
_TOTALS = """SELECT count(*), count(*) FILTER (status BETWEEN 200 AND 299),
    count(DISTINCT account) FILTER (account <> ''), epoch(min(time)), epoch(max(time)),
    coalesce(sum(bits::DOUBLE) FILTER (status BETWEEN 200 AND 299), 0) FROM exchanges"""
_DECISIONS = "SELECT decision, count(*) FROM exchanges GROUP BY 1 ORDER BY 2 DESC, 1"
_MODELS = "SELECT model FROM exchanges WHERE model <> '' GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT ?"
_BUSIEST = """SELECT account, count(DISTINCT digest), sum(bits::DOUBLE) FROM exchanges
    WHERE status BETWEEN 200 AND 299 AND digest <> 0 AND account <> '' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?"""


def traffic(folder: Path, copy: int | None) -> tuple[Traffic | None, list[str]]:
    """What was asked, None where nothing was, and what of the journal couldn't be read.

    Args:
        folder: the journal.
        copy: the queries of the cheapest audited copy, None where that isn't known.

    Raises:
        SourceError: a file of it is damaged.
    """
    if not folder.is_dir():
        return None, []
    import duckdb

    journal = JournalFolder(folder)
    try:
        with contextlib.closing(journal.connect()) as connection:
            found = _summed(connection, copy)
    except duckdb.Error as error:
        raise SourceError(f"{folder}: {str(error).splitlines()[0]}; expected a journal; take the damaged file out "
                          "of it") from None
    return (found if found.rows else None), journal.problems


def _summed(connection: DuckDBPyConnection, copy: int | None) -> Traffic:
    def rows(query: str, *limit: int) -> list[Any]:
        return connection.execute(query, list(limit)).fetchall()

    (n_rows, answered, accounts, first, last, bits), = rows(_TOTALS)
    return Traffic(
        rows=n_rows, answered=answered, accounts=accounts, first_time=first, last_time=last, bits=bits,
        decisions=dict(rows(_DECISIONS)), models=tuple(model for model, in rows(_MODELS, MODELS_SHOWN)),
        busiest=tuple(Busy(account=account, queries=queries, bits=released,
                           copy_share=queries / copy if copy else None)
                      for account, queries, released in rows(_BUSIEST, BUSIEST_SHOWN)))

"""Reading a journal: with SQL, or row by row in the order of time.

A journal's files are input like any other. What isn't a journal's, or is damaged, is left out and named
in `problems`; the rest is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from counterclone.errors import SourceError
from counterclone.journal.archive import archived_files
from counterclone.journal.events import SCHEMA, check_rows, schema_problem
from counterclone.journal.replay import Source, in_order, in_time_order, start_of, table_of
from counterclone.journal.segments import SegmentName, is_held, live_files, read_live

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

UNREADABLE = (pa.ArrowException, OSError, ValueError)
"""What pyarrow raises for files that somebody else wrote."""


class JournalFolder:
    """A journal on the disk, which guards may go on writing meanwhile.

    Attributes:
        path: the folder.
        problems: one line for each file, or end of a file, that the last reading left out.
    """

    def __init__(self, path: Path | str) -> None:
        """Find the folder.

        Raises:
            SourceError: there is none.
        """
        self.path = Path(path)
        self.problems: list[str] = []
        if not self.path.is_dir():
            raise SourceError(f"there is no journal at {self.path}: expected a folder that a guard writes; "
                              "correct the path, or start the guard with this [journal] path")

    def connect(self) -> DuckDBPyConnection:
        """A DuckDB connection in memory with the view `exchanges`, one row for each row of a query.

        The view is the journal as it is now. The connection reads files below the folder and nothing else,
        and its time zone is UTC. Archived files are judged by their schema: a page that is damaged further
        in is an error of the query that reads it.
        """
        import duckdb

        live, archived = self.segments()
        connection = duckdb.connect()
        connection.register("live_exchanges", pa.Table.from_batches(
            [batch for table in live.values() for batch in table.to_batches()], SCHEMA))
        sources = ["live_exchanges"]
        if archived:
            sources.append(f"read_parquet([{', '.join(map(_quoted, archived))}], hive_partitioning=false)")
        columns = ", ".join(SCHEMA.names)
        view = " UNION ALL ".join(f"SELECT {columns} FROM {source}" for source in sources)  # noqa: S608
        connection.execute(f"SET allowed_directories=[{_quoted(self.path)}]")
        connection.execute("SET enable_external_access=false")
        connection.execute("SET TimeZone='UTC'")
        connection.execute(f"CREATE VIEW exchanges AS {view}")
        return connection

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Every row in the order of time, in batches of `SCHEMA`; memory is bounded by overlapping files."""
        live, archived = self.segments()
        return in_time_order([
            *(Source(start_of(table), partial(_same, table)) for table in live.values()),
            *(Source(start, partial(self.load, path)) for path, start in archived.items())])

    def segments(self) -> tuple[dict[SegmentName, pa.Table], dict[Path, int]]:
        """The live segments' rows, and the archived files with their first times, none of them twice."""
        self.problems = []
        live = {name: table for path, name in live_files(self.path) if (table := self._live(path)).num_rows}
        # listed afterwards, so that what is archived meanwhile is in one of the two at least; what is in both
        # is told by this list and not by the disk, where more may have been archived since
        archived = {path: start for path in archived_files(self.path)
                    if (start := self._start(path)) is not None}
        return {name: table for name, table in live.items()
                if name.archive_path(self.path) not in archived}, archived

    def _live(self, path: Path) -> pa.Table:
        try:
            reading = read_live(path)
            # a writer's last batch may be on its way
            is_damaged = reading.bytes_cut > 0 and not is_held(path)
        except FileNotFoundError:  # archived meanwhile
            return SCHEMA.empty_table()
        except OSError as error:
            return self._left_out(path, error)
        if reading.problem:
            self._left_out(path, reading.problem)
        elif is_damaged:
            self._left_out(path, f"the last {reading.bytes_cut:,} bytes aren't a whole batch")
        return table_of(reading.batches)

    def _start(self, path: Path) -> int | None:
        """The first time in an archived file, None where it isn't a journal's."""
        try:
            with pq.ParquetFile(path) as file:
                problem = schema_problem(file.schema_arrow)
                groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
                times = [group.column(0).statistics for group in groups]
        except FileNotFoundError:  # too old meanwhile
            return None
        except UNREADABLE as error:
            problem = _short(error)
        if problem:
            self._left_out(path, problem)
            return None
        return min((time.min_raw if time and time.has_min_max else 0 for time in times), default=0)

    def load(self, path: Path) -> pa.Table:
        """An archived file's rows in the order of time, none where it can't be read."""
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                rows = file.read()
            check_rows(rows)
        except FileNotFoundError:  # too old meanwhile
            return SCHEMA.empty_table()
        except UNREADABLE as error:
            return self._left_out(path, error)
        return in_order(pa.Table.from_arrays(rows.columns, schema=SCHEMA))

    def _left_out(self, path: Path, reason: object) -> pa.Table:
        text = _short(reason) if isinstance(reason, Exception) else str(reason)
        self.problems.append(f"{path}: {text}; left out")
        return SCHEMA.empty_table()


def _same(table: pa.Table) -> pa.Table:
    return table


def _short(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _quoted(path: Path) -> str:
    return "'" + os.path.abspath(path).replace("'", "''") + "'"

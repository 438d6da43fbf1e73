"""The exchange log: written beside the traffic, read with DuckDB or replayed in order of time."""

from __future__ import annotations

from counterclone.journal.events import (
    FORMAT_VERSION,
    SCHEMA,
    Columns,
    Exchange,
    columns_to_batch,
    to_batch,
    vectors,
)
from counterclone.journal.folder import JournalFolder
from counterclone.journal.lines import Line, LineAnswer, LineQuery, Lines, read_lines
from counterclone.journal.waiting import Block
from counterclone.journal.writer import JournalWriter

__all__ = [
    "FORMAT_VERSION",
    "SCHEMA",
    "Block",
    "Columns",
    "Exchange",
    "JournalFolder",
    "JournalWriter",
    "Line",
    "LineAnswer",
    "LineQuery",
    "Lines",
    "columns_to_batch",
    "read_lines",
    "to_batch",
    "vectors",
]

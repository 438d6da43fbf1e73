"""Requests to the journal's exchanges: what a request's path has no time for, done for hundreds at once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from counterclone.answers import Rows, margins, top_labels
from counterclone.journal import Exchange, to_batch
from counterclone.queries import Features, Query, canonical_features, numbers
from counterclone.randomness import Prf

NO_LABEL = -1
NO_DIGEST = (0,)


class Reading(msgspec.Struct, frozen=True, gc=False, eq=False):
    """What was read of an answer.

    Attributes:
        rows: the target's probabilities before any policy, (queries, classes), None where there are none.
        bits: upper bound on the bits released for each query.
    """

    rows: Rows | None
    bits: float


class Record(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One request as its path leaves it.

    Attributes:
        time: seconds since 1970.
        account: the account's id.
        account_class: its class, "" for none.
        dialect: the format that read it.
        decision: what became of it; in shadow mode, what would have.
        status: the HTTP status that the caller got.
        n_bytes: of query and answer as JSON.
        query: what was asked, None where it wasn't read.
        reading: what was read of the answer, or how to read it.
    """

    time: float
    account: str
    account_class: str
    dialect: str
    decision: str
    status: int
    n_bytes: int
    query: Query | None
    reading: Reading | Callable[[], Reading]

    @property
    def n_rows(self) -> int:
        """Rows of the query; a request that wasn't read is one."""
        return 1 if self.query is None else self.query.n_rows


class Recorder:
    """Encodes records for the journal, in its thread.

    Args:
        digests: keys the digests of queries.
        keeps_payloads: whether queries and answers themselves are kept.
    """

    def __init__(self, digests: Prf, *, keeps_payloads: bool) -> None:
        self._digests = digests
        self._keeps_payloads = keeps_payloads

    def encode(self, records: Sequence[Record]) -> pa.RecordBatch:
        """Many records as one batch of the journal's rows."""
        return to_batch(self.exchanges(records))

    def exchanges(self, records: Sequence[Record]) -> list[Exchange]:
        """Each record as an exchange, with digests, labels and margins."""
        readings = [each.reading if isinstance(each.reading, Reading) else each.reading() for each in records]
        labels = _labels(readings)
        cells, matrices = _inputs([each.query for each in records])
        return [self._exchange(*parts) for parts in zip(records, readings, labels, cells, matrices, strict=True)]

    def _exchange(self, record: Record, reading: Reading, labels: tuple[NDArray[Any], NDArray[Any]] | None,
                  cells: list[bytes], features: Features | None) -> Exchange:
        query = record.query
        digests = tuple(map(self._digests.number, cells)) if cells else NO_DIGEST
        is_text = features is None and query is not None
        top, gap = labels or ((NO_LABEL,) * len(digests), (math.nan,) * len(digests))
        return Exchange(
            record.time, record.account, record.account_class, record.dialect, query.model if query else "",
            record.decision, record.status, digests, top, gap,
            0 if reading.rows is None else reading.rows.shape[1], reading.bits, features,
            tuple(cell.decode() for cell in cells) if is_text else None,
            _payloads(query, reading) if self._keeps_payloads and query else None)


def _labels(readings: Sequence[Reading]) -> list[tuple[NDArray[Any], NDArray[Any]] | None]:
    """Labels and margins of each reading, those of as many classes in one go; None where there are none."""
    found: list[tuple[NDArray[Any], NDArray[Any]] | None] = [None] * len(readings)
    by_classes: defaultdict[int, list[int]] = defaultdict(list)
    for i, reading in enumerate(readings):
        if reading.rows is not None:
            by_classes[reading.rows.shape[1]].append(i)
    for members in by_classes.values():
        rows = [reading.rows for i in members if (reading := readings[i]).rows is not None]
        together = np.concatenate(rows)
        labels, gaps = top_labels(together), margins(together)
        start = 0
        for i, own in zip(members, rows, strict=True):
            end = start + len(own)
            found[i] = labels[start:end], gaps[start:end]
            start = end
    return found


def _inputs(queries: Sequence[Query | None]) -> tuple[list[list[bytes]], list[Features | None]]:
    """The canonical cells and the features of each query, those of as many features in one go."""
    cells: list[list[bytes]] = [[] for _ in queries]
    features: list[Features | None] = [None] * len(queries)
    by_width: defaultdict[int, list[int]] = defaultdict(list)
    for i, query in enumerate(queries):
        if query is not None:
            first = query.values[0]
            by_width[len(first) if isinstance(first, list) else 0].append(i)
    for members in by_width.values():
        asked = [query for i in members if (query := queries[i]) is not None]
        together = _together(asked)
        if together is None:
            for i, query in zip(members, asked, strict=True):
                cells[i], features[i] = query.cells, query.features
            continue
        all_cells, start = canonical_features(together), 0
        for i, query in zip(members, asked, strict=True):
            end = start + query.n_rows
            cells[i], features[i] = all_cells[start:end], together[start:end]
            start = end
    return cells, features


def _together(queries: Sequence[Query]) -> Features | None:
    """The features of several queries, (rows, d); None where they don't fit one array."""
    if not all(isinstance(query.values, list) for query in queries):
        return None
    array = numbers([row for query in queries for row in query.values])
    return None if array is None or array.ndim != 2 else array.astype(np.float64, copy=False)


def _payloads(query: Query, reading: Reading) -> list[bytes]:
    rows = query.values.tolist() if isinstance(query.values, np.ndarray) else query.values
    answers = [None] * query.n_rows if reading.rows is None else [{"scores": row} for row in reading.rows.tolist()]
    return [orjson.dumps({"query": _as_line(row), "answer": answer})
            for row, answer in zip(rows, answers, strict=True)]


def _as_line(row: object) -> dict[str, object]:
    return {"text": row} if isinstance(row, str) else {"features": row}

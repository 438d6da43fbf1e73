"""Requests to the journal's exchanges: what a request's path has no time for, done for hundreds at once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from counterclone.answers import Rows, margins
from counterclone.journal import Columns, columns_to_batch
from counterclone.queries import Features, Query, as_features, canonical_features, canonical_value
from counterclone.randomness import Prf

NO_LABEL = -1


class Reading(msgspec.Struct, frozen=True, gc=False, eq=False):
    """What was read of an answer.

    Attributes:
        rows: the target's probabilities before any policy, (queries, classes), None where there are none.
        bits: upper bound on the bits released for each query.
        released: the outputs as the caller got them, by name, the one of `rows` first; None where those were
            the target's.
    """

    rows: Rows | None
    bits: float
    released: Mapping[str, Rows] | None = None


class Later(msgspec.Struct, gc=False, eq=False):
    """A reading that is made when the journal wants it, and once, though it asks again after a full disk."""

    _read: Callable[[], Reading]
    _reading: Reading | None = None

    def __call__(self) -> Reading:
        """The reading."""
        if self._reading is None:
            self._reading = self._read()
        return self._reading


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
        n_rows: rows of the query; a request that wasn't read is one.
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
    n_rows: int
    query: Query | None
    reading: Reading | Later


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
        """Many records as one batch of the journal's rows, with digests, labels and margins."""
        readings = [each.reading if isinstance(each.reading, Reading) else each.reading() for each in records]
        queries = [each.query for each in records]
        counts = [each.n_rows for each in records]
        cells, features = _inputs(queries)
        labels, gaps = _labels(readings, counts)
        return columns_to_batch(Columns(
            times=[each.time for each in records],
            accounts=[each.account for each in records],
            account_classes=[each.account_class for each in records],
            dialects=[each.dialect for each in records],
            models=[query.model if query else "" for query in queries],
            decisions=[each.decision for each in records],
            statuses=[each.status for each in records],
            n_rows=counts,
            digests=self._digested(cells), labels=labels, margins=gaps,
            n_classes=[0 if each.rows is None else each.rows.shape[1] for each in readings],
            bits=[each.bits for each in readings],
            features=features,
            texts=[_texts(query) if query and matrix is None else None
                   for query, matrix in zip(queries, features, strict=True)],
            payloads=[_payloads(query, matrix, reading) if self._keeps_payloads and query else None
                      for query, matrix, reading in zip(queries, features, readings, strict=True)]))

    def _digested(self, cells: Sequence[Sequence[bytes]]) -> NDArray[np.uint64]:
        """The digest of each cell, 0 for a request that wasn't read: (rows,)."""
        digests = self._digests.numbers([cell for own in cells for cell in own or (b"",)])
        if all(cells):
            return digests
        is_read = np.repeat([bool(own) for own in cells], [len(own) or 1 for own in cells])
        return np.where(is_read, digests, np.uint64(0))


def _labels(readings: Sequence[Reading], counts: Sequence[int]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Labels and margins, (rows,) each, -1 and NaN where there are none; as many classes go in one call."""
    of_row = np.repeat(np.array([0 if each.rows is None else each.rows.shape[1] for each in readings]), counts)
    labels = np.full(len(of_row), NO_LABEL, dtype=np.int32)
    gaps = np.full(len(of_row), math.nan, dtype=np.float32)
    for n_classes in set(of_row.tolist()) - {0}:
        rows = np.concatenate([each.rows for each in readings
                               if each.rows is not None and each.rows.shape[1] == n_classes])
        is_member = of_row == n_classes
        labels[is_member], gaps[is_member] = rows.argmax(axis=1), margins(rows)
    return labels, gaps


def _inputs(queries: Sequence[Query | None]) -> tuple[list[list[bytes]], list[Features | None]]:
    """The canonical cells and the features of each query, those of as many features in one go."""
    cells: list[list[bytes]] = [[] for _ in queries]
    features: list[Features | None] = [None] * len(queries)
    by_width: defaultdict[tuple[type, int], list[int]] = defaultdict(list)
    for i, query in enumerate(queries):
        if query is not None:
            first = query.values[0]
            by_width[type(first), len(first) if isinstance(first, list | np.ndarray) else 0].append(i)
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
    if all(isinstance(query.values, list) for query in queries):
        return as_features([row for query in queries for row in query.values])
    tensors = [query.values for query in queries if isinstance(query.values, np.ndarray)]
    return np.concatenate(tensors, dtype=np.float64) if len(tensors) == len(queries) else None


def _texts(query: Query) -> list[str]:
    """Rows as text: as they are, what is new in a conversation, or anything else in its canonical form."""
    return [row if isinstance(row, str) else _said(row) or canonical_value(row).decode() for row in query.values]


def _said(row: object) -> str:
    """The last thing that the user said in a conversation, "" for what is none."""
    messages = row.get("messages") if isinstance(row, dict) else None
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        return ""
    said = [each.get("content") for each in messages if each.get("role", "user") == "user"]
    content = said[-1] if said else None
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return " ".join(text for text in texts if isinstance(text, str))


def _payloads(query: Query, features: Features | None, reading: Reading) -> list[bytes]:
    """Each row and its answer, as the caller got it, as an exchange in JSON."""
    rows = query.values if features is None else features.tolist()
    served = reading.rows
    if served is not None and reading.released:
        served = next(iter(reading.released.values()))
        served = served[::len(served) // query.n_rows]
    answers = [None] * query.n_rows if served is None else [{"scores": row} for row in served.tolist()]
    return [orjson.dumps({"query": _as_line(row), "answer": answer})
            for row, answer in zip(rows, answers, strict=True)]


def _as_line(row: object) -> dict[str, object]:
    if isinstance(row, str):
        return {"text": row}
    if isinstance(row, dict) and "messages" in row:
        return {"messages": row["messages"]}
    return {"features": row} if _is_vector(row) else {"text": orjson.dumps(row).decode()}


def _is_vector(row: object) -> bool:
    return isinstance(row, list) and all(isinstance(value, int | float) for value in row)

"""Exchanges as the guard journals them, and their form in the journal's files.

The files hold one row for each row of a query. `vector` is 64 little-endian 16-bit floats in 128 bytes
(see `encoders`), null where the query had no inputs: DuckDB reads it as a BLOB, `vectors` as numbers. A
list of 16-bit floats would cost six times the CPU to write, and DuckDB can't read it from a live segment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counterclone.encoders import ENCODER_VERSION, VECTOR_SIZE, Vectors, compact_features, encode_texts
from counterclone.queries import Features

FORMAT_VERSION = "1"
VECTOR_BYTES = 2 * VECTOR_SIZE
MAX_NAME = 256
"""Characters kept of a name; the model's comes from the caller."""
LAST_TIME = 253_402_300_800.0
"""The end of the year 9999, in seconds since 1970."""

_TIME = pa.timestamp("us", tz="UTC")
_FORMAT_KEY = b"counterclone.journal"
_NOTHING, _TEXT = -2, -1  # kinds of rows that aren't numbers; those that are go by their number of features

SCHEMA = pa.schema([
    pa.field("time", _TIME, nullable=False),
    pa.field("account", pa.string(), nullable=False),
    pa.field("account_class", pa.string(), nullable=False),
    pa.field("dialect", pa.string(), nullable=False),
    pa.field("model", pa.string(), nullable=False),
    pa.field("decision", pa.string(), nullable=False),
    pa.field("status", pa.int16(), nullable=False),
    pa.field("digest", pa.uint64(), nullable=False),
    pa.field("n_features", pa.int32(), nullable=False),
    pa.field("n_classes", pa.int32(), nullable=False),
    pa.field("label", pa.int32(), nullable=False),
    pa.field("margin", pa.float32(), nullable=False),
    pa.field("bits", pa.float32(), nullable=False),
    pa.field("vector", pa.binary(VECTOR_BYTES)),
    pa.field("payload", pa.binary()),
], metadata={_FORMAT_KEY: FORMAT_VERSION.encode(), b"counterclone.encoder": ENCODER_VERSION.encode()})
"""The journal's columns; its metadata names the versions of the format and of the encoder."""


class Exchange(msgspec.Struct, frozen=True, gc=False, eq=False):
    """The rows of one request.

    A request that was turned away before it was read is one row with digest 0. Thousands may wait for the
    disk, so the garbage collector isn't to walk them: arrays and tuples of numbers cost it nothing, a list
    in each exchange about half a microsecond.

    Attributes:
        time: seconds since 1970.
        account: the account's hash, 16 hexadecimal digits.
        account_class: the name of its class, "" for everybody else's.
        dialect: the wire format.
        model: the model's name in the request, "" for none.
        decision: served, flagged, limited, refused, unauthenticated, unscanned or failed.
        status: the HTTP status.
        digests: the keyed digest of each row's canonical form, (rows,), below 2**64.
        labels: the target's label, -1 where there is none, (rows,).
        margins: the target's top probability minus its second, NaN where there is none, (rows,).
        n_classes: classes in the answer, 0 where it has no scores.
        bits: released bits for each row.
        features: (rows, features) where every input is a number; not to be changed afterwards.
        texts: the rows as text, (rows,), where they aren't numbers.
        payloads: each row's query and answer as JSON, (rows,), by opt-in only.
    """

    time: float
    account: str
    account_class: str
    dialect: str
    model: str
    decision: str
    status: int
    digests: Sequence[int] | NDArray[np.uint64]
    labels: Sequence[int] | NDArray[np.integer]
    margins: Sequence[float] | NDArray[np.floating]
    n_classes: int
    bits: float
    features: Features | None = None
    texts: Sequence[str] | None = None
    payloads: Sequence[bytes] | None = None

    @property
    def n_rows(self) -> int:
        """Rows of the query."""
        return len(self.digests)

    @property
    def n_bytes(self) -> int:
        """Bytes of features, texts and payloads."""
        size = 0 if self.features is None else self.features.nbytes
        if self.texts is None and self.payloads is None:
            return size
        return size + sum(map(len, chain(self.texts or (), self.payloads or ())))


class Columns(NamedTuple):
    """Many exchanges, field by field; `n_rows` holds the rows of each.

    The first seven and `n_classes`, `bits`, `features`, `texts` and `payloads` have an entry for each exchange
    as in `Exchange`; `digests`, `labels` and `margins` have one for each row.
    """

    times: Sequence[float]
    accounts: Sequence[str]
    account_classes: Sequence[str]
    dialects: Sequence[str]
    models: Sequence[str]
    decisions: Sequence[str]
    statuses: Sequence[int]
    n_rows: Sequence[int]
    digests: NDArray[np.uint64]
    labels: NDArray[np.int32]
    margins: NDArray[np.float32]
    n_classes: Sequence[int]
    bits: Sequence[float]
    features: Sequence[Features | None]
    texts: Sequence[Sequence[str] | None]
    payloads: Sequence[Sequence[bytes] | None]


def to_batch(blocks: Sequence[Exchange]) -> pa.RecordBatch:
    """The rows of many exchanges as one batch of `SCHEMA`, vectors encoded.

    Raises:
        ValueError: an exchange whose parts differ in rows, or a time outside 1970 to 9999.
        TypeError: a part of the wrong type; OverflowError: a number that doesn't fit its column.
    """
    if not blocks:
        return pa.RecordBatch.from_pylist([], schema=SCHEMA)
    (times, accounts, classes, dialects, models, decisions, statuses, digests, labels, margins, n_classes,
     bits, features, texts, payloads) = zip(*map(msgspec.structs.astuple, blocks), strict=True)
    counts = [len(rows) for rows in digests]
    _check_counts(counts, (labels, margins), (features, texts, payloads))
    n_rows = sum(counts)
    return columns_to_batch(Columns(
        times, accounts, classes, dialects, models, decisions, statuses, counts,
        _joined(digests, np.uint64, n_rows), _joined(labels, np.int32, n_rows),
        _joined(margins, np.float32, n_rows),
        n_classes, bits, features, texts, payloads))


def columns_to_batch(columns: Columns) -> pa.RecordBatch:
    """One batch of `SCHEMA`, vectors encoded.

    Raises:
        ValueError: a time outside 1970 to 9999, or a missing value.
        TypeError: a part of the wrong type; OverflowError: a number that doesn't fit its column.
    """
    counts = columns.n_rows
    kinds = np.array([matrix.shape[1] if matrix is not None else _NOTHING if words is None else _TEXT
                      for matrix, words in zip(columns.features, columns.texts, strict=True)])
    spread = None if max(counts) == min(counts) == 1 else pa.array(np.repeat(np.arange(len(counts)), counts))

    def each(values: Any, kind: pa.DataType) -> pa.Array:
        """One value for each exchange, repeated for its rows."""
        array = pa.array(values, kind)
        return array if spread is None else array.take(spread)

    batch = pa.RecordBatch.from_arrays([
        each(_microseconds(columns.times), _TIME),
        each(columns.accounts, pa.string()),
        each(columns.account_classes, pa.string()),
        each(columns.dialects, pa.string()),
        each(_callers_text(columns.models), pa.string()),
        each(columns.decisions, pa.string()),
        each(columns.statuses, pa.int16()),
        pa.array(columns.digests),
        each(np.maximum(kinds, 0), pa.int32()),
        each(columns.n_classes, pa.int32()),
        pa.array(columns.labels),
        pa.array(columns.margins),
        each(columns.bits, pa.float32()),
        _encoded(columns.features, columns.texts, kinds, np.repeat(kinds, counts)),
        _payloads(columns.payloads, counts),
    ], schema=SCHEMA)
    _check_values(batch)  # a reader would refuse the whole batch
    return batch


def vectors(rows: pa.RecordBatch | pa.Table) -> Vectors:
    """The `vector` column as numbers, NaN in rows that have none: (rows, 64).

    Args:
        rows: the journal's, or what DuckDB made of them.
    """
    column = rows.column("vector").cast(pa.binary(VECTOR_BYTES))
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return np.concatenate([np.empty((0, VECTOR_SIZE), np.float32), *map(_numbers, chunks)])


def schema_problem(schema: pa.Schema) -> str | None:
    """Why a file with this schema isn't a journal's; None where it is."""
    version = (schema.metadata or {}).get(_FORMAT_KEY)
    if version is not None and version != FORMAT_VERSION.encode():
        return f"its format is {version.decode(errors='replace')}, this counterclone reads {FORMAT_VERSION}"
    if not schema.equals(SCHEMA):
        return f"its columns aren't a journal's ({', '.join(SCHEMA.names)})"
    return None


def check_rows(rows: pa.RecordBatch | pa.Table) -> None:
    """Refuse rows that a hostile or damaged file may hold.

    Raises:
        ValueError: offsets, texts or nulls that a journal can't have.
    """
    rows.validate(full=True)
    _check_values(rows)


def _check_values(rows: pa.RecordBatch | pa.Table) -> None:
    for field, column in zip(SCHEMA, rows.columns, strict=True):
        if not field.nullable and column.null_count:
            raise ValueError(f"column '{field.name}' has rows without a value")


def _check_counts(counts: list[int], always: Sequence[Any], sometimes: Sequence[Any]) -> None:
    is_wrong = any(list(map(len, parts)) != counts for parts in always) or any(
        len(part) != count for parts in sometimes for part, count in zip(parts, counts, strict=True)
        if part is not None)
    if is_wrong:
        raise ValueError("the parts of an exchange differ in rows; expected one entry for each digest")


def _joined(parts: Sequence[Any], kind: type[np.number], n_rows: int) -> NDArray[Any]:
    """The rows of every exchange in one array, from arrays or from sequences of numbers: (rows,)."""
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts, dtype=kind, casting="same_kind")
    return np.fromiter(chain.from_iterable(parts), kind, n_rows)


def _microseconds(times: Sequence[float]) -> NDArray[np.int64]:
    if not all(0.0 <= time < LAST_TIME for time in times):
        raise ValueError("an exchange's time isn't between 1970 and 9999; expected seconds since 1970")
    return np.rint(np.array(times) * 1e6).astype(np.int64)


def _callers_text(names: Sequence[str]) -> list[str]:
    short = [name[:MAX_NAME] for name in names]
    if all(map(str.isascii, short)):
        return short
    # half a surrogate pair is valid JSON and no valid text; it must not keep its exchange out of the journal
    return [name.encode("utf-8", "replace").decode() for name in short]


def _encoded(features: Sequence[Features | None], texts: Sequence[Sequence[str] | None],
             kinds: NDArray[np.intp], kind_of_row: NDArray[np.intp]) -> pa.Array:
    """The vectors of the rows of many exchanges, encoded in one call for each kind of rows."""
    encoded = np.zeros((len(kind_of_row), VECTOR_SIZE), dtype="<f2")
    for kind in set(kinds.tolist()) - {_NOTHING}:
        members = np.flatnonzero(kinds == kind).tolist()
        encoded[kind_of_row == kind] = (
            encode_texts(list(chain.from_iterable(texts[i] or () for i in members))) if kind == _TEXT
            else compact_features(np.concatenate([features[i] for i in members])))
    return _fixed_binary(encoded, kind_of_row != _NOTHING)


def _fixed_binary(encoded: NDArray[np.float16], is_known: NDArray[np.bool_]) -> pa.Array:
    valid = None if is_known.all() else pa.py_buffer(np.packbits(is_known, bitorder="little"))
    return pa.Array.from_buffers(pa.binary(VECTOR_BYTES), len(encoded), [valid, pa.py_buffer(encoded)])


def _payloads(payloads: Sequence[Sequence[bytes] | None], counts: Sequence[int]) -> pa.Array:
    if not any(payloads):
        return pa.nulls(sum(counts), pa.binary())
    rows = ([None] * count if own is None else own for own, count in zip(payloads, counts, strict=True))
    return pa.array(list(chain.from_iterable(rows)), pa.binary())


def _numbers(chunk: pa.FixedSizeBinaryArray) -> Vectors:
    raw = chunk.buffers()[1]
    if raw is None:
        return np.full((len(chunk), VECTOR_SIZE), math.nan, dtype=np.float32)
    end = chunk.offset + len(chunk)
    stored = np.frombuffer(raw, dtype="<f2", count=end * VECTOR_SIZE).reshape(end, VECTOR_SIZE)
    numbers = stored[chunk.offset:].astype(np.float32)
    if chunk.null_count:
        numbers[chunk.is_null().to_numpy(zero_copy_only=False)] = math.nan
    return numbers


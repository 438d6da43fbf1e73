"""Exchanges as JSON lines, from whatever logs a user has.

    {"time": 1764000000.0, "account": "a7", "query": {"features": [0.1, 2.0]},
     "answer": {"scores": [0.9, 0.1]}, "meta": {"ip": "10.0.0.7"}}

A bad line is skipped, counted and described by its number; it never stops the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Rows
from counterclone.errors import SourceError
from counterclone.journal.events import LAST_TIME
from counterclone.queries import Features

MAX_LINE_BYTES = 32 << 20
MAX_MESSAGES = 100
"""Skipped lines that are described; all are counted."""
_MAX_REASON = 200
_HALF_PAIR = b"\\ud"
_MARK = b"\xef\xbb\xbf"  # some editors put it at the start of a UTF-8 file

Translate = Callable[[bytes], Iterable[Mapping[str, Any]]]
"""A line of another log to exchanges as their lines have them, none where there is nothing in it yet; ValueError
where it is bad."""

Label = int | str
Meta = dict[str, str | int | float | bool | None]


class LineQuery(msgspec.Struct, frozen=True, eq=False):
    """What was asked: exactly one of these isn't None.

    Attributes:
        features: (rows, features).
        text: a text.
        messages: a conversation, as chat APIs have it.
    """

    features: Features | None
    text: str | None
    messages: list[dict[str, Any]] | None


class LineAnswer(msgspec.Struct, frozen=True, eq=False):
    """What was answered: at least one of these isn't None.

    Attributes:
        scores: (rows, classes), as they were given.
        labels: the label of each row, (rows,).
        text: a text.
        vectors: (rows, dimensions).
    """

    scores: Rows | None
    labels: list[Label] | None
    text: str | None
    vectors: NDArray[np.float64] | None


class Line(msgspec.Struct, frozen=True, eq=False):
    """One exchange.

    Attributes:
        time: seconds since 1970.
        account: the caller's name, as it was given.
        query: what was asked.
        answer: what was answered, None where the line doesn't say.
        meta: whatever else is known of the caller.
    """

    time: float
    account: str
    query: LineQuery
    answer: LineAnswer | None
    meta: Meta

    @property
    def n_rows(self) -> int:
        """Rows of the query; a text or a conversation is one."""
        return 1 if self.query.features is None else len(self.query.features)


class Lines:
    """An iterator over the good lines of a file.

    Attributes:
        n_lines: lines read so far that weren't empty.
        n_skipped: bad ones among them.
        skipped: the number and the fault of the first 100 bad lines.
    """

    def __init__(self, source: Path | str | BinaryIO, translate: Translate | None = None) -> None:
        """Find the file.

        Args:
            source: the file.
            translate: reads the lines of another log.

        Raises:
            SourceError: there is no such file.
        """
        self._source = Path(source) if isinstance(source, str) else source
        self._translate = translate
        self._n_read = 0
        self.n_lines = self.n_skipped = 0
        self.skipped: list[str] = []
        if isinstance(self._source, Path) and (self._source.is_dir() or not self._source.exists()):
            raise SourceError(f"there are no exchanges at {self._source}: expected a file with one JSON object "
                              "a line; correct the path")

    def __iter__(self) -> Iterator[Line]:
        """The good lines, in the file's order.

        Raises:
            SourceError: the file can't be read.
        """
        try:
            with self._opened() as file:
                yield from self.read(file)
        except OSError as error:
            raise SourceError(f"{self._source} can't be read ({error}); expected a file with one JSON object "
                              "a line") from error

    def _opened(self) -> AbstractContextManager[BinaryIO]:
        return self._source.open("rb") if isinstance(self._source, Path) else nullcontext(self._source)

    def read(self, file: BinaryIO) -> Iterator[Line]:
        """The good lines of an open file, which goes on where the one before ended."""
        for data in _raw_lines(file):
            self._n_read += 1
            if data.isspace():
                continue
            self.n_lines += 1
            try:
                lines = self._parsed(data.removeprefix(_MARK) if self._n_read == 1 else data)
            except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
                self._skip(self._n_read, error)
            else:
                yield from lines

    def _parsed(self, data: bytes) -> list[Line]:
        if len(data) > MAX_LINE_BYTES and not data.endswith(b"\n"):
            raise ValueError(f"longer than {MAX_LINE_BYTES:,} bytes")
        if _HALF_PAIR in data.lower():
            data = _repaired(data)
        if self._translate is None:
            return [_line(_decoder.decode(data))]
        return [_line(msgspec.convert(exchange, _WireLine)) for exchange in self._translate(data)]

    def _skip(self, number: int, error: Exception) -> None:
        self.n_skipped += 1
        if len(self.skipped) < MAX_MESSAGES:
            self.skipped.append(f"line {number}: {str(error)[:_MAX_REASON]}")


def read_lines(source: Path | str | BinaryIO, translate: Translate | None = None) -> Lines:
    """The exchanges in a file or in an open binary file.

    Args:
        source: the file.
        translate: reads the lines of another log.

    Raises:
        SourceError: there is no such file.
    """
    return Lines(source, translate)


_Numbers = list[float | list[float]]


class _WireQuery(msgspec.Struct):
    features: _Numbers | None = None
    text: str | None = None
    messages: list[dict[str, Any]] | None = None


class _WireAnswer(msgspec.Struct):
    scores: _Numbers | None = None
    label: Label | list[Label] | None = None
    text: str | None = None
    vector: _Numbers | None = None


class _WireLine(msgspec.Struct):
    time: float
    account: str
    query: _WireQuery
    answer: _WireAnswer | None = None
    meta: Meta = {}


_decoder = msgspec.json.Decoder(_WireLine)


def _raw_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines with their ends; of one that is too long only a part, without an end."""
    while data := file.readline(MAX_LINE_BYTES + 1):
        rest = data
        while len(rest) > 1 << 20 and not rest.endswith(b"\n"):
            rest = file.readline((1 << 20) + 1)
        yield data


def _repaired(data: bytes) -> bytes:
    """A line without halves of surrogate pairs, which are JSON but no text: else a caller could hide by one."""
    return json.dumps(json.loads(data), ensure_ascii=False).encode("utf-8", "replace")


def _line(wire: _WireLine) -> Line:
    if not 0.0 <= wire.time < LAST_TIME:
        raise ValueError("`time` isn't between 1970 and 9999; expected seconds since 1970")
    query = _query(wire.query)
    line = Line(wire.time, wire.account, query, None if wire.answer is None else _answer(wire.answer), wire.meta)
    _check_rows(line)
    return line


def _query(wire: _WireQuery) -> LineQuery:
    if sum(value is not None for value in (wire.features, wire.text, wire.messages)) != 1:
        raise ValueError("`query` must have one of `features`, `text` and `messages`")
    if wire.messages == []:
        raise ValueError("`messages` is empty")
    return LineQuery(_matrix(wire.features, "features"), wire.text, wire.messages)


def _answer(wire: _WireAnswer) -> LineAnswer:
    if wire == _WireAnswer():
        raise ValueError("`answer` must have one of `scores`, `label`, `text` and `vector`, or be left out")
    labels = [wire.label] if isinstance(wire.label, int | str) else wire.label
    return LineAnswer(_matrix(wire.scores, "scores"), labels, wire.text, _matrix(wire.vector, "vector"))


def _matrix(values: _Numbers | None, name: str) -> NDArray[np.float64] | None:
    if values is None:
        return None
    rows = values if values and isinstance(values[0], list) else [values]
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError):
        raise ValueError(f"the rows of `{name}` differ in length") from None
    if matrix.size == 0:
        raise ValueError(f"`{name}` is empty")
    if not np.isfinite(matrix).all():
        raise ValueError(f"`{name}` holds numbers that aren't finite")
    return matrix


def _check_rows(line: Line) -> None:
    answer = line.answer
    for name, rows in () if answer is None else (
            ("scores", answer.scores), ("label", answer.labels), ("vector", answer.vectors)):
        if rows is not None and len(rows) != line.n_rows:
            raise ValueError(f"`{name}` has {len(rows)} rows for the query's {line.n_rows}")

"""Traffic from wherever it was kept, as exchanges by column: a few thousand rows at a time."""

from __future__ import annotations

import hashlib
import math
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counterclone.answers import FLOAT_BITS, SUM_TOLERANCE, Rows, full_bits, margins
from counterclone.encoders import VECTOR_SIZE, encode_features, encode_texts
from counterclone.errors import SourceError
from counterclone.exchanges import NO_LABEL, Exchanges
from counterclone.journal import JournalFolder, Line, Lines, vectors
from counterclone.journal.following import Follower
from counterclone.journal.lines import Label, Meta
from counterclone.queries import canonical_features, canonical_value
from counterclone.randomness import Prf
from counterclone.watch.importers import Format, translation
from counterclone.watch.importers._records import text_of
from counterclone.watch.importers.kserve import Matching

BATCH_ROWS = 4096
POLL_SECONDS = 0.5
_LARGEST_LABEL = 2**30
"""Larger labels, and names, are hashed to numbers from here on."""
_LONGEST_LINK = 256
_OK = (200, 300)


@dataclass(frozen=True)
class Traffic:
    """Some exchanges and whose they are.

    Attributes:
        names: of the accounts, by the numbers in the exchanges.
        exchanges: in the order in which they came.
        kinds: the accounts' classes, "" for ordinary ones.
        meta: what else is known of the accounts.
    """

    names: list[str]
    exchanges: Exchanges
    kinds: list[str]
    meta: list[Meta]


class Source(Protocol):
    """Where traffic comes from."""

    @property
    def n_skipped(self) -> int:
        """Bad lines so far."""
        ...

    @property
    def problems(self) -> list[str]:
        """What couldn't be read so far, in words."""
        ...

    def traffic(self) -> Iterator[Traffic]:
        """All that is there, in the order of time where the source has one."""
        ...

    def follow(self) -> Iterator[Traffic | None]:
        """All that is there and then what comes, without end; None each time that nothing has come."""
        ...


def find(path: Path, digests: Prf, form: Format = "auto") -> Source:
    """A journal's folder or a file of exchanges.

    Args:
        path: either.
        digests: keys the digests of a file's queries; a journal has its own.
        form: what the file holds.

    Raises:
        SourceError: there is no such source, or it can't be read.
    """
    if path.is_dir():
        return JournalSource(path)
    if path.exists():
        return LinesSource(path, digests, form)
    raise SourceError(f"{path}: not found; expected a journal folder or a file of exchanges as JSON lines; "
                      "name one, or run the guard first")


def from_batch(batch: pa.RecordBatch) -> tuple[list[str], Exchanges]:
    """Rows of a journal that were answered: the names of their accounts, and the exchanges."""
    found = traffic_of(batch)
    return found.names, found.exchanges


class JournalSource:
    """A journal that guards may go on writing."""

    def __init__(self, path: Path) -> None:
        self._folder = JournalFolder(path)
        self.n_skipped = 0

    @property
    def problems(self) -> list[str]:
        """Files, and ends of files, that were left out."""
        return list(self._folder.problems)

    def traffic(self) -> Iterator[Traffic]:
        """Every answered row in the order of time."""
        for batch in self._folder.batches():
            yield traffic_of(batch)

    def follow(self) -> Iterator[Traffic | None]:
        """Every answered row, then those that guards add."""
        follower = Follower(self._folder)
        while True:
            has_come = False
            for batch in follower.poll():
                has_come = True
                yield traffic_of(batch)
            if not has_come:
                yield None
                time.sleep(POLL_SECONDS)


class LinesSource:
    """A file with an exchange a line, of ours or of another system's log."""

    def __init__(self, path: Path, digests: Prf, form: Format = "auto") -> None:
        self._path = path
        self._translate = translation(form, digests.subkey("names"), path)
        self._lines = Lines(path, self._translate)
        self._encoder = _Encoder(digests)

    @property
    def n_skipped(self) -> int:
        """Bad lines so far."""
        return self._lines.n_skipped

    @property
    def problems(self) -> list[str]:
        """The first bad lines, and what lacks its other half."""
        found = [f"{self._path}: {problem}" for problem in self._lines.skipped]
        if isinstance(self._translate, Matching) and self._translate.n_waiting:
            found.append(f"{self._path}: {self._translate.n_waiting:,} events lack the request or the response of "
                         "the same id; they are left out")
        return found

    def traffic(self) -> Iterator[Traffic]:
        """Every good line's rows, in the file's order."""
        yield from self._encoder.encoded(self._lines)

    def follow(self) -> Iterator[Traffic | None]:
        """Every good line's rows, then those of lines that are added; a file made anew is read from its start."""
        tail = Tail(self._path)
        while True:
            data = tail.read()
            if data:
                yield from self._encoder.encoded(self._lines.read(BytesIO(data)))
            else:
                yield None
                time.sleep(POLL_SECONDS)


class Tail:
    """The whole lines that a file gets, as `tail -F` has them.

    Args:
        path: the file, which may be moved away and made anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._position = 0

    def read(self, size: int = 8 << 20) -> bytes:
        """About `size` bytes of lines that weren't read yet, none where there are none."""
        try:
            seen = self._path.stat()
            if seen.st_ino != self._file or seen.st_size < self._position:
                self._file, self._position = seen.st_ino, 0
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read(size)
                if data and b"\n" not in data:  # a longer line, or one that isn't whole
                    data += file.readline()
        except OSError:  # moved away; it comes back
            return b""
        data = data[:data.rfind(b"\n") + 1]
        self._position += len(data)
        return data


class _Encoder:
    """Lines to columns."""

    def __init__(self, digests: Prf) -> None:
        self._digests = digests

    def encoded(self, lines: Iterator[Line] | Lines) -> Iterator[Traffic]:
        """The rows of lines, a few thousand at a time."""
        waiting: list[Line] = []
        n_rows = 0
        for line in lines:
            waiting.append(line)
            n_rows += line.n_rows
            if n_rows >= BATCH_ROWS:
                yield self._traffic(waiting)
                waiting, n_rows = [], 0
        if waiting:
            yield self._traffic(waiting)

    def _traffic(self, lines: Sequence[Line]) -> Traffic:
        numbers: dict[str, int] = {}
        meta: list[Meta] = []
        of_line = []
        for line in lines:
            number = numbers.setdefault(line.account, len(numbers))
            of_line.append(number)
            if number == len(meta):
                meta.append({})
            meta[number].update(line.meta)
        counts = [line.n_rows for line in lines]
        encoded, digests = self._queries(lines)
        labels, gaps, bits = _answers(lines, counts)
        exchanges = Exchanges(
            accounts=np.repeat(np.array(of_line, dtype=np.intp), counts),
            times=np.repeat(np.array([line.time for line in lines]), counts),
            vectors=encoded, labels=labels, margins=gaps, digests=digests,
            gaps=np.full(len(digests), math.nan, dtype=np.float32), bits=bits)
        kinds = [str(known.get("account_class", "")) for known in meta]
        return Traffic(list(numbers), exchanges, kinds, meta)

    def _queries(self, lines: Sequence[Line]) -> tuple[NDArray[np.float32], NDArray[np.uint64]]:
        """The vectors and digests of the rows of lines; those of as many features in one go."""
        counts = np.array([line.n_rows for line in lines])
        starts = np.cumsum(counts) - counts
        encoded = np.empty((int(counts.sum()), VECTOR_SIZE), dtype=np.float32)
        cells: list[bytes] = [b""] * len(encoded)
        by_width: dict[int, list[int]] = {}
        for i, line in enumerate(lines):
            by_width.setdefault(-1 if line.query.features is None else line.query.features.shape[1], []).append(i)
        for width, members in by_width.items():
            places = np.concatenate([np.arange(starts[i], starts[i] + counts[i]) for i in members])
            if width < 0:
                texts = [_text(lines[i]) for i in members]
                encoded[places], own = encode_texts(texts), [canonical_value(text) for text in texts]
            else:
                rows = np.concatenate([rows for i in members if (rows := lines[i].query.features) is not None])
                encoded[places], own = encode_features(rows), canonical_features(rows)
            for place, cell in zip(places.tolist(), own, strict=True):
                cells[place] = cell
        return encoded, self._digests.numbers(cells)


def traffic_of(batch: pa.RecordBatch) -> Traffic:
    """Rows of a journal that were answered."""
    status = batch.column("status").to_numpy()
    if not ((status >= _OK[0]) & (status < _OK[1])).all():
        batch = batch.filter(pa.array((status >= _OK[0]) & (status < _OK[1])))
    coded = batch.column("account").dictionary_encode()
    accounts = coded.indices.to_numpy().astype(np.intp)
    names: list[str] = coded.dictionary.to_pylist()
    kinds = [""] * len(names)
    classes = batch.column("account_class").dictionary_encode()
    if classes.dictionary.to_pylist() != [""]:
        for number, kind in zip(accounts.tolist(), batch.column("account_class").to_pylist(), strict=True):
            kinds[number] = kind
    exchanges = Exchanges(
        accounts=accounts, times=batch.column("time").cast(pa.int64()).to_numpy() / 1e6, vectors=vectors(batch),
        labels=batch.column("label").to_numpy(), margins=batch.column("margin").to_numpy(),
        digests=batch.column("digest").to_numpy(),
        gaps=np.full(batch.num_rows, math.nan, dtype=np.float32), bits=batch.column("bits").to_numpy())
    return Traffic(names, exchanges, kinds, [{} for _ in names])


def _text(line: Line) -> str:
    """What is new in a query: its text, or the last thing that the user said."""
    query = line.query
    if query.text is not None:
        return query.text
    messages = query.messages or []
    said = deque((message for message in messages if message.get("role", "user") == "user"), maxlen=1)
    return text_of((said or messages[-1:])[0].get("content"))


def _answers(lines: Sequence[Line], counts: Sequence[int],
             ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Labels and margins of the rows of lines, -1 and NaN where there are none, and their bits, (rows,) each."""
    n_rows = sum(counts)
    labels = np.full(n_rows, NO_LABEL, dtype=np.int32)
    gaps = np.full(n_rows, math.nan, dtype=np.float32)
    bits = np.zeros(n_rows, dtype=np.float32)
    by_width: dict[int, list[tuple[slice, Rows]]] = {}
    start = 0
    for line, count in zip(lines, counts, strict=True):
        place, answer = slice(start, start + count), line.answer
        start += count
        if answer is None:
            continue
        if answer.scores is not None:
            by_width.setdefault(answer.scores.shape[1], []).append((place, answer.scores))
        elif answer.labels is not None:
            labels[place] = [_number(label) for label in answer.labels]
            bits[place] = [8.0 * len(str(label)) for label in answer.labels]
        elif answer.vectors is not None:
            bits[place] = FLOAT_BITS * answer.vectors.shape[1]
        else:
            bits[place] = 8.0 * len((answer.text or "").encode("utf-8", "surrogatepass"))
    for width, members in by_width.items():
        places = np.concatenate([np.arange(place.start, place.stop) for place, _ in members])
        bits[places] = full_bits(max(width, 2))
        rows = np.concatenate([scores for _, scores in members])
        if width == 1:  # the second class's probability, where it can be one
            is_share = (rows[:, 0] >= 0.0) & (rows[:, 0] <= 1.0)
            places, rows = places[is_share], np.hstack([1.0 - rows, rows])[is_share]
        shares = _probabilities(rows)
        labels[places], gaps[places] = shares.argmax(axis=1), margins(shares)
    return labels, gaps, bits


def _probabilities(scores: Rows) -> Rows:
    """Scores as probabilities, row by row: what can't be such, rounded or cut off, is logits."""
    sums = scores.sum(axis=1)
    is_share = (scores.min(axis=1) >= 0.0) & (scores.max(axis=1) <= 1.0 + SUM_TOLERANCE) & (sums > 0.0)
    odds = np.exp(scores[~is_share] - scores[~is_share].max(axis=1, keepdims=True))
    shares = scores / np.where(is_share, sums, 1.0)[:, np.newaxis]
    shares[~is_share] = odds / odds.sum(axis=1, keepdims=True)
    return shares


def _number(label: Label) -> int:
    """A label as a number: small ones as they are, others and names hashed."""
    if isinstance(label, int) and 0 <= label < _LARGEST_LABEL:
        return label
    return _LARGEST_LABEL + (zlib.crc32(str(label).encode("utf-8", "surrogatepass")) & (_LARGEST_LABEL - 1))


def known_links(meta: Mapping[str, object]) -> dict[str, str]:
    """What accounts may be linked by, as text; long ones are hashed."""
    found = {name: str(meta[name]) for name in ("ip", "payment", "user_agent", "asn")
             if meta.get(name) not in (None, "")}
    return {name: text if len(text) <= _LONGEST_LINK else hashlib.sha256(text.encode()).hexdigest()
            for name, text in found.items()}

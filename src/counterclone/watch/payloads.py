"""Queries and answers themselves, of some accounts and a sample of the others': what the odometer needs."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from counterclone.errors import SourceError
from counterclone.journal import JournalFolder, Line, read_lines
from counterclone.randomness import Prf
from counterclone.watch.odometer import Answered

MOST_ASKED = 20_000
"""Exchanges of the accounts that are read: a student of more learns hardly more, and slowly."""
MOST_OTHERS = 1000

_SAMPLING = Prf.from_secret("counterclone odometer")


class Split(NamedTuple):
    """What some accounts asked, and a sample of what the others did."""

    asked: Answered
    others: Answered


class _Query(msgspec.Struct):
    features: list[float] | None = None
    text: str | None = None


class _Answer(msgspec.Struct):
    scores: list[float] | None = None


class _Payload(msgspec.Struct):
    query: _Query
    answer: _Answer | None = None


_Pair = tuple[list[float] | str, list[float]]
_decoder = msgspec.json.Decoder(_Payload)


def split(source: Path, accounts: Collection[str]) -> Split:
    """The exchanges of some accounts, and others' to try a copy on; those that don't hold both parts are left out.

    Args:
        source: a journal with payloads, or exchanges as JSON lines with scores.
        accounts: ids in a journal, names in JSON lines.

    Raises:
        SourceError: no such source, or it holds no payloads.
    """
    asked: list[_Pair] = []
    others: list[tuple[int, int, _Pair]] = []
    found = _of_folder(source) if source.is_dir() else _of_lines(source)
    for number, (account, pair) in enumerate(found):
        if account in accounts:
            if len(asked) < MOST_ASKED:
                asked.append(pair)
        else:
            _sample(others, number, pair)
    if not asked and not others:
        raise SourceError(f"{source} holds no queries with their scores, which a copy could be learnt from; a "
                          "journal keeps them with `[journal] payloads = true`")
    return Split(_answered(asked), _answered([pair for _, _, pair in others]))


def _sample(kept: list[tuple[int, int, _Pair]], number: int, pair: _Pair) -> None:
    """Keep those with the smallest hashes, so that every exchange has the same chance."""
    entry = (-_SAMPLING.number(number.to_bytes(8, "little")), number, pair)
    if len(kept) < MOST_OTHERS:
        heapq.heappush(kept, entry)
    elif entry[0] > kept[0][0]:
        heapq.heapreplace(kept, entry)


def _answered(pairs: list[_Pair]) -> Answered:
    """Pairs of the most frequent shape; others belong to another model."""
    by_shape: dict[tuple[int, int], list[_Pair]] = {}
    for inputs, row in pairs:
        shape = (-1 if isinstance(inputs, str) else len(inputs), len(row))
        by_shape.setdefault(shape, []).append((inputs, row))
    most = max(by_shape.values(), key=len, default=[])
    rows = np.array([row for _, row in most], dtype=np.float64)
    if most and isinstance(most[0][0], str):
        return Answered([str(inputs) for inputs, _ in most], rows)
    return Answered(np.array([inputs for inputs, _ in most], dtype=np.float64), rows)


def _of_folder(path: Path) -> Iterator[tuple[str, _Pair]]:
    with JournalFolder(path).connect() as connection:
        found = connection.execute(
            "select account, payload from exchanges where payload is not null "
            "and decision in ('served', 'flagged') order by time")
        while batch := found.fetchmany(4096):
            for account, payload in batch:
                if pair := _pair(payload):
                    yield account, pair


def _pair(payload: bytes) -> _Pair | None:
    try:
        found = _decoder.decode(payload)
    except msgspec.MsgspecError:  # a journal is input like any other
        return None
    inputs = found.query.text if found.query.features is None else found.query.features
    if not inputs or found.answer is None or not found.answer.scores:
        return None
    return inputs, found.answer.scores


def _of_lines(path: Path) -> Iterator[tuple[str, _Pair]]:
    for line in read_lines(path):
        for pair in _pairs(line):
            yield line.account, pair


def _pairs(line: Line) -> Iterator[_Pair]:
    if line.answer is None or line.answer.scores is None:
        return
    features = line.query.features
    inputs = [line.query.text] if features is None else features.tolist()
    for each, row in zip(inputs, line.answer.scores.tolist(), strict=True):
        if each:
            yield each, row

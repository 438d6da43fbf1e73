"""Pumps an attack's queries into a target: what it may not do is ask one too many."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Reply
from counterclone.budgets import Meter
from counterclone.errors import BudgetExhausted, TargetError
from counterclone.protocols import Asking, Surrogate, Target
from counterclone.queries import Inputs


async def drive(asking: Asking, target: Target, meter: Meter, *, recording: Recording | None = None,
                progress: Callable[[Meter], None] = lambda meter: None) -> Surrogate | None:
    """Run an attack to its end.

    Args:
        asking: the attack, not yet begun.
        target: answers it.
        meter: counts and stops it. An attack that asks beyond the budget is told so once; where it asks again, it
            ends without a surrogate.
        recording: answers of an interrupted run of the same attack are taken from it, and new ones go to it.
        progress: called after each batch.

    Returns:
        What the attack built; None for nothing.

    Raises:
        TargetError: the target can't be reached, or doesn't keep its promises.
    """
    try:
        inputs = next(asking)
        while True:
            rows = as_bytes(inputs)
            if not rows:
                raise ValueError("the attack asked an empty batch; an attack yields at least one query")
            try:
                meter.admit(rows)
            except BudgetExhausted as error:
                return _last_words(asking, error)
            reply = await _reply(inputs, rows, target, recording)
            progress(meter)
            inputs = asking.send(reply)
    except StopIteration as stop:
        surrogate: Surrogate | None = stop.value
        return surrogate


def as_bytes(inputs: Inputs) -> list[bytes]:
    """Each row of a batch as bytes."""
    if isinstance(inputs, np.ndarray):
        return [row.tobytes() for row in np.ascontiguousarray(inputs, dtype=np.float64)]
    return [text.encode() for text in inputs]


def _last_words(asking: Asking, error: BudgetExhausted) -> Surrogate | None:
    try:
        asking.throw(error)
    except StopIteration as stop:
        surrogate: Surrogate | None = stop.value
        return surrogate
    except BudgetExhausted:  # it knew no way to end
        return None
    asking.close()
    return None


async def _reply(inputs: Inputs, rows: Sequence[bytes], target: Target, recording: Recording | None) -> Reply:
    if recording is None:
        return _checked(await target.query(inputs), len(rows))
    digest = hashlib.blake2b(b"".join(rows), digest_size=16).digest()
    known = recording.replay(digest)
    if known is not None:
        return known
    reply = _checked(await target.query(inputs), len(rows))
    recording.append(digest, reply)
    return reply


def _checked(reply: Reply, n_queries: int) -> Reply:
    if len(reply.rows) != n_queries:
        raise TargetError(f"{n_queries} queries got {len(reply.rows)} answers; expected one for each")
    return reply


class _Record(msgspec.Struct, frozen=True, array_like=True):
    digest: bytes
    classes: int
    rows: bytes
    logits: bytes | None
    ids: bytes | None


class Recording:
    """The answers of one trial on disk, so that nothing is paid twice after an interruption.

    An attack asks the same queries under the same seed: a run that begins again is answered from the file for as
    long as it asks what the file has, and goes on live from there. A record that was cut short is dropped.

    Args:
        path: the file; it is made when the first answer comes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records, self._end = _read(path)
        self._records.reverse()

    def replay(self, digest: bytes) -> Reply | None:
        """The recorded answer to the next batch; None where the recording ends, or has another batch there."""
        if self._records and self._records[-1].digest == digest:
            record = self._records.pop()
            self._end += _size(record)
            return _as_reply(record)
        self._records = []
        return None

    def append(self, digest: bytes, reply: Reply) -> None:
        """Keep a new answer.

        Raises:
            OSError: the disk refuses.
        """
        record = _Record(digest, reply.rows.shape[1], _raw(reply.rows), _raw(reply.logits), _raw(reply.ids))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path, "r+b" if self._path.exists() else "w+b") as file:
            file.seek(self._end)
            file.truncate()
            file.write(_framed(record))
            self._end = file.tell()


def _read(path: Path) -> tuple[list[_Record], int]:
    """The whole records of a file, and where replay begins."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    records, start = [], 0
    while start + 4 <= len(content):
        end = start + 4 + int.from_bytes(content[start:start + 4], "little")
        if end > len(content):
            break
        try:
            records.append(msgspec.msgpack.decode(content[start + 4:end], type=_Record))
        except msgspec.DecodeError:
            break
        start = end
    return records, 0


def _framed(record: _Record) -> bytes:
    encoded = msgspec.msgpack.encode(record)
    return len(encoded).to_bytes(4, "little") + encoded


def _size(record: _Record) -> int:
    return len(_framed(record))


def _raw(array: NDArray[Any] | None) -> Any:
    return None if array is None else np.ascontiguousarray(array).tobytes()


def _as_reply(record: _Record) -> Reply:
    shape = (-1, record.classes)
    return Reply(
        np.frombuffer(record.rows, np.float64).reshape(shape),
        None if record.logits is None else np.frombuffer(record.logits, np.float64).reshape(shape),
        None if record.ids is None else np.frombuffer(record.ids, np.int64))

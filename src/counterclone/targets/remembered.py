"""A target whose answers are kept, so that none is paid for twice."""

from __future__ import annotations

import hashlib
import os
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Reply
from counterclone.driver import as_bytes
from counterclone.errors import SourceError, TargetError
from counterclone.protocols import Target
from counterclone.queries import Inputs

ROWS_AT_ONCE = 256
"""Answers are kept after so many: what an interruption can lose."""
DIGEST_BYTES = 16
_MAGIC = b"counterclone answers 1\n"
_HEAD = struct.Struct("<I??")  # classes, and whether there are logits and ids
_HEAD_BYTES = len(_MAGIC) + _HEAD.size


class Remembered:
    """Asks a target only what it hasn't answered yet.

    A row that is asked k times in one run is kept k times, so that a target that draws its noise anew goes on
    doing so; the next run, begun by `begin`, gets the same k answers.

    Args:
        target: answers what isn't known.
        path: where answers are kept; None keeps them in memory. A record that was cut short is dropped.

    Raises:
        SourceError: the file isn't one of ours.
    """

    def __init__(self, target: Target, path: Path | None = None) -> None:
        self._target = target
        self._store = _Store(path)
        self._times: Counter[bytes] = Counter()

    @property
    def n_known(self) -> int:
        """How many answers are kept."""
        return len(self._store)

    def begin(self) -> None:
        """A new run starts: repeats are counted anew."""
        self._times.clear()

    async def query(self, inputs: Inputs) -> Reply:
        """The answers, known ones from the store.

        Raises:
            TargetError: the target fails; what it had answered before is kept.
        """
        keys = [self._key(row) for row in as_bytes(inputs)]
        unknown = [number for number, key in enumerate(keys) if key not in self._store]
        for start in range(0, len(unknown), ROWS_AT_ONCE):
            numbers = unknown[start:start + ROWS_AT_ONCE]
            reply = await self._target.query(_picked(inputs, numbers))
            self._store.append([keys[number] for number in numbers], reply)
        return self._store.reply(keys)

    def _key(self, row: bytes) -> bytes:
        digest = hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest()
        self._times[digest] += 1
        repeat = self._times[digest]
        if repeat == 1:
            return digest
        return hashlib.blake2b(digest + repeat.to_bytes(8, "little"), digest_size=DIGEST_BYTES).digest()


class _Store:
    """Rows of answers by key, in memory and, where there is a path, on disk: a head, then records of one size."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._places: dict[bytes, int] = {}
        self._records: list[NDArray[Any]] = []
        self._kind: np.dtype[Any] | None = None
        if path is not None and path.exists():
            self._load(path)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def append(self, keys: list[bytes], reply: Reply) -> None:
        """Keep a reply, to the disk before anything else happens.

        Raises:
            TargetError: not as many answers as keys, or other classes than before.
            OSError: the disk refuses.
        """
        kind = _kind(reply.rows.shape[1], reply.logits is not None, reply.ids is not None)
        if self._kind is None:
            self._kind = kind
        if len(reply.rows) != len(keys) or kind != self._kind:
            raise TargetError(f"{len(keys)} queries got answers of shape {reply.rows.shape}; expected one for "
                              "each, all of one form")
        records = np.zeros(len(keys), kind)
        records["key"] = np.frombuffer(b"".join(keys), f"V{DIGEST_BYTES}")
        for name, values in (("rows", reply.rows), ("logits", reply.logits), ("ids", reply.ids)):
            if values is not None:
                records[name] = values
        if self._path is not None:
            self._write(self._path, records)
        self._remember(records)

    def reply(self, keys: list[bytes]) -> Reply:
        """The reply to known keys, in their order."""
        found = np.array([self._records[self._places[key]] for key in keys])
        names = found.dtype.names or ()
        return Reply(np.ascontiguousarray(found["rows"]),
                     np.ascontiguousarray(found["logits"]) if "logits" in names else None,
                     np.ascontiguousarray(found["ids"]) if "ids" in names else None)

    def _remember(self, records: NDArray[Any]) -> None:
        for record in records:
            self._places[record["key"].tobytes()] = len(self._records)
            self._records.append(record)

    def _load(self, path: Path) -> None:
        content = path.read_bytes()
        if content and not content.startswith(_MAGIC[:len(content)]):
            raise SourceError(f"{path}: holds no answers of an audit or a test; name an empty folder, or the "
                              "one of the run that was interrupted")
        if len(content) < _HEAD_BYTES:
            os.truncate(path, 0)
            return
        self._kind = _kind(*_HEAD.unpack_from(content, len(_MAGIC)))
        n_records = (len(content) - _HEAD_BYTES) // self._kind.itemsize
        end = _HEAD_BYTES + n_records * self._kind.itemsize
        if end < len(content):
            os.truncate(path, end)
        self._remember(np.frombuffer(content[_HEAD_BYTES:end], self._kind))

    def _write(self, path: Path, records: NDArray[Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        names = records.dtype.names or ()
        with open(path, "ab") as file:
            if not file.tell():
                file.write(_MAGIC + _HEAD.pack(records["rows"].shape[1], "logits" in names, "ids" in names))
            file.write(records.tobytes())


def _kind(classes: int, has_logits: bool, has_ids: bool) -> np.dtype[Any]:
    fields: list[Any] = [("key", f"V{DIGEST_BYTES}"), ("rows", "<f8", (classes,))]
    if has_logits:
        fields.append(("logits", "<f8", (classes,)))
    if has_ids:
        fields.append(("ids", "<i8"))
    return np.dtype(fields)


def _picked(inputs: Inputs, numbers: list[int]) -> Inputs:
    return inputs[numbers] if isinstance(inputs, np.ndarray) else [inputs[number] for number in numbers]

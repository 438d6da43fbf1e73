"""The ledger as it is read: checked against its signed heads, and opened for those who have the keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from counterclone.errors import LedgerError
from counterclone.evidence import Payload, Role, Served
from counterclone.prove import ledger
from counterclone.prove.custody import Custody
from counterclone.prove.ledger import FRAME, HEADS_FILE, ID_FILE, LOG_FILE, PAYLOADS_FILE, Head
from counterclone.prove.merkle import Frontier, Tree
from counterclone.prove.records import DTYPE, FORMAT, SALT_BYTES, Kind, Record
from counterclone.prove.signed import read_signed


@dataclass(frozen=True)
class Opened:
    """A record of a marked query or a control, with what opens it.

    Attributes:
        part: which part of the ledger it is in.
        index: its number there.
        payload: as it was sealed.
    """

    part: Part
    index: int
    payload: bytes

    @property
    def account(self) -> str:
        """Whom it was served to."""
        return bytes(self.part.records["account"][self.index]).hex()

    def record(self) -> bytes:
        """The record's bytes."""
        return bytes(self.part.records[self.index].tobytes())

    def salt(self) -> bytes:
        """What opens its hashes."""
        return self.part.salt(self.index)


class Part:
    """One process's part of the ledger, read-only; whoever writes to it may go on.

    Args:
        folder: the part's.
        keys: of the ledger.

    Attributes:
        id: the part's.
        heads: as they are signed, the first first.
        records: its columns (`records.DTYPE`), (n,).

    Raises:
        LedgerError: something in it was changed.
    """

    def __init__(self, folder: Path, keys: Custody) -> None:
        self._folder = folder
        self._keys = keys
        try:
            self.id = ledger.read_id(folder / ID_FILE)
            lines = (folder / HEADS_FILE).read_bytes()
            content = (folder / LOG_FILE).read_bytes()
            self._payloads = (folder / PAYLOADS_FILE).read_bytes()
        except OSError as error:
            raise LedgerError(f"{folder}: {error.strerror or error}; expected a part of a ledger; restore it "
                              "from a copy") from None
        size = len(content) // FORMAT.size
        self.records = np.frombuffer(content[:size * FORMAT.size], dtype=DTYPE)
        whole = lines[:lines.rfind(b"\n") + 1].splitlines()
        self.heads = [read_signed(line, str(folder / HEADS_FILE)) for line in whole]
        self._salts = keys.salts().subkey(self.id)
        self._check_heads()

    def salt(self, index: int) -> bytes:
        """What opens the hashes of a record."""
        return self._salts.digest(index.to_bytes(8, "little"), SALT_BYTES)

    def tree(self) -> Tree:
        """The tree over its records, for proofs."""
        return Tree(record.tobytes() for record in self.records)

    def opened(self) -> Iterator[Opened]:
        """Every marked query and control, each checked against its record.

        Raises:
            LedgerError: a payload was changed, or is missing.
        """
        cipher = ChaCha20Poly1305(self._keys.payload_key(self.id))
        missing = self._with_payload()
        place = 0
        while place + FRAME.size <= len(self._payloads):
            index, n_bytes = FRAME.unpack_from(self._payloads, place)
            content = self._payloads[place + FRAME.size:place + FRAME.size + n_bytes]
            place += FRAME.size + n_bytes
            if index >= len(self.records):  # its record isn't written yet
                break
            try:
                payload = ledger.decrypted(cipher, self.id, index, content)
            except InvalidTag:
                raise self._changed(f"the payload of record {index}") from None
            self._check(index, payload)
            missing.discard(index)
            if self.records["kind"][index] == Kind.ANSWER:
                yield Opened(self, index, payload)
        if missing:
            raise self._changed(f"the payload of record {min(missing)}")

    def _with_payload(self) -> set[int]:
        """The records that have one: their seal isn't that of nothing."""
        return {index for index, seal in enumerate(self.records["seal"])
                if bytes(seal) != hashlib.sha256(self.salt(index)).digest()}

    def _check(self, index: int, payload: bytes) -> None:
        """That a payload, and query and answer in it, are those of its record."""
        record = self.records[index]
        kind = Kind(int(record["kind"]))
        cell, answer = (b"", payload) if kind is not Kind.ANSWER else _sealed_parts(payload)
        made = Record(kind, int(record["commitment"]), float(record["time"]), bytes(record["account"]), cell,
                      answer, payload)
        if made.sealed(self.salt(index)) != record.tobytes():
            raise self._changed(f"record {index}")

    def _check_heads(self) -> None:
        roots = {}
        sizes = []
        for signed in self.heads:
            head = signed.read(Head, str(self._folder / HEADS_FILE))
            if not signed.is_by(self._keys.signer) or head.ledger != self.id:
                raise self._changed(f"the head of {head.size} records")
            roots[head.size] = head.root
            sizes.append(head.size)
        if sizes != sorted(sizes):
            raise self._changed("the order of the heads")
        frontier = Frontier()
        for record in self.records:
            frontier.append(record.tobytes())
            root = roots.pop(frontier.size, None)
            if root is not None and root != frontier.root().hex():
                raise self._changed(f"one of the first {frontier.size} records")
        if roots:
            raise self._changed(f"the end of the log (a head tells of {max(roots)} records, not {frontier.size})")

    def _changed(self, what: str) -> LedgerError:
        return LedgerError(f"{self._folder}: {what} was changed after it was written; restore it from a copy: "
                           "nothing is proven from a ledger that doesn't hold together")


def parts(folder: Path, keys: Custody) -> list[Part]:
    """The parts of a ledger.

    Raises:
        LedgerError: there is no ledger, or it was changed.
    """
    found = sorted(path for path in folder.glob("[0-9]*") if (path / LOG_FILE).exists())
    if not found:
        raise LedgerError(f"{folder}: there is no ledger; a guard with [[mark]] writes one; name its folder in "
                          "[prove] ledger")
    return [Part(path, keys) for path in found]


def marked(ledger_parts: Sequence[Part], commitment: int, kind: str) -> list[list[Opened]]:
    """The marked queries and controls of one mark under one commitment, each with all records of it.

    Raises:
        LedgerError: something was changed.
    """
    found: dict[str, list[Opened]] = {}
    for part in ledger_parts:
        for opened in part.opened():
            payload = _payload(opened.payload)
            if payload.mark == kind and int(part.records["commitment"][opened.index]) == commitment:
                found.setdefault(payload.cell, []).append(opened)
    return [found[cell] for cell in sorted(found)]


def served(rows: Sequence[Sequence[Opened]]) -> Served:
    """Marked queries and controls, each once; none of those with another number of classes than most."""
    payloads = [_payload(each[0].payload) for each in rows]
    sizes = [payload.classes for payload in payloads]
    classes = max(set(sizes), key=sizes.count) if sizes else 0
    kept = [i for i, payload in enumerate(payloads) if payload.classes == classes]
    chosen = [payloads[i] for i in kept]
    inputs: Any = [payload.query["text"] for payload in chosen if "text" in payload.query]
    if len(inputs) < len(chosen) or not chosen:
        inputs = np.array([payload.query["features"] for payload in chosen], dtype=np.float64)
    return Served(
        inputs=inputs, cells=[bytes.fromhex(payload.cell) for payload in chosen],
        roles=np.array([Role[payload.role.upper()] for payload in chosen], dtype=np.int8),
        truths=np.array([payload.true for payload in chosen], dtype=np.int64),
        labels=np.array([payload.answer["label"] for payload in chosen], dtype=np.int64),
        accounts=[tuple(sorted({opened.account for opened in rows[i]})) for i in kept], classes=classes)


def _payload(content: bytes) -> Payload:
    try:
        return msgspec.json.decode(content, type=Payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise LedgerError(f"a payload of the ledger can't be read: {error}; it is of another version") from None


def answer_bytes(answer: Mapping[str, Any]) -> bytes:
    """What a record's hash of the answer is of: the released row as float64, little endian."""
    return np.asarray(answer["scores"], dtype="<f8").tobytes()


def _sealed_parts(payload: bytes) -> tuple[bytes, bytes]:
    opened = _payload(payload)
    return bytes.fromhex(opened.cell), answer_bytes(opened.answer)

"""Records of marked queries and controls with what opens them, in the ledger or in a dossier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np

from counterclone.errors import LedgerError
from counterclone.evidence import Accepted, Payload, Role, Served
from counterclone.prove.records import FORMAT, Kind, Record
from counterclone.queries import Query

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Opened:
    """A record with what opens it.

    Attributes:
        ledger: the id of the part that it is in.
        index: its number there.
        record: as it was written, 118 bytes.
        salt: of its hashes.
        payload: as it was sealed.
    """

    ledger: str
    index: int
    record: bytes
    salt: bytes
    payload: bytes

    @property
    def kind(self) -> int:
        """A `records.Kind`."""
        return int(FORMAT.unpack(self.record)[1])

    @property
    def commitment(self) -> int:
        """The number of the commitment that it was served under."""
        return int(FORMAT.unpack(self.record)[2])

    @property
    def time(self) -> float:
        """When it was served, seconds since 1970."""
        return float(FORMAT.unpack(self.record)[3])

    @property
    def account(self) -> str:
        """Whom it was served to."""
        account: bytes = FORMAT.unpack(self.record)[4]
        return account.hex()

    def read(self) -> Payload:
        """What the payload says.

        Raises:
            LedgerError: it can't be read.
        """
        return self._decoded(Payload)

    def _decoded(self, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(self.payload, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise LedgerError(f"record {self.index} of ledger {self.ledger}: its payload can't be read: {error}; "
                              "it is of another version, or was changed") from None

    def accepted(self) -> Accepted:
        """The terms that the payload says were accepted.

        Raises:
            LedgerError: it can't be read.
        """
        return self._decoded(Accepted)

    def is_whole(self) -> bool:
        """Whether payload, query and answer are those that the record was sealed with.

        Raises:
            LedgerError: the payload can't be read.
        """
        _, kind, commitment, time, account, *_ = FORMAT.unpack(self.record)
        cell, answer = b"", self.payload
        if kind == Kind.ANSWER:
            payload = self.read()
            cell, answer = bytes.fromhex(payload.cell), answer_bytes(payload.answer)
        return Record(kind, commitment, time, account, cell, answer, self.payload).sealed(self.salt) == self.record


def by_query(rows: Iterable[Opened], kind: str) -> list[list[Opened]]:
    """The records of one mark, those of each query together, in the order of the canonical queries.

    Raises:
        LedgerError: a payload can't be read.
    """
    found: dict[str, list[Opened]] = {}
    for row in rows:
        payload = row.read()
        if payload.mark == kind:
            found.setdefault(payload.cell, []).append(row)
    return [found[cell] for cell in sorted(found)]


def served(queries: Sequence[Sequence[Opened]]) -> Served:
    """Marked queries and controls, each once; none of those with another number of classes than most.

    Args:
        queries: all records of each.
    """
    payloads = [records[0].read() for records in queries]
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
        accounts=[tuple(sorted({record.account for record in queries[i]})) for i in kept], classes=classes)


def answer_bytes(answer: Mapping[str, Any]) -> bytes:
    """What a record's hash of the answer is of: the text, or the released row as float64, little endian."""
    if "text" in answer:
        text: bytes = answer["text"].encode(errors="surrogatepass")
        return text
    return np.asarray(answer["scores"], dtype="<f8").tobytes()


def is_canonical(payload: Payload) -> bool:
    """Whether the cell, which the key's draw is made for, is the canonical form of the query beside it."""
    query = payload.query
    values: Any = [query["text"]] if "text" in query else np.array([query["features"]], dtype=np.float64)
    return Query(values).cells[0].hex() == payload.cell

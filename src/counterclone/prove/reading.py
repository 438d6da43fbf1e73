"""The ledger as it is read: checked against its signed heads, and opened for those who have the keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from counterclone.errors import LedgerError
from counterclone.evidence import Accepted
from counterclone.prove import ledger
from counterclone.prove.custody import Custody
from counterclone.prove.ledger import FRAME, HEADS_FILE, ID_FILE, LOG_FILE, PAYLOADS_FILE, Head
from counterclone.prove.merkle import Frontier, Tree
from counterclone.prove.opened import Opened
from counterclone.prove.records import DTYPE, FORMAT, SALT_BYTES, Kind
from counterclone.prove.signed import read_signed


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """That an account accepted terms.

    Attributes:
        account: its id.
        time: seconds since 1970.
        version: of the terms.
        by: how, as in `evidence.Accepted`.
    """

    account: str
    time: float
    version: str
    by: str


class Part:
    """One process's part of the ledger, read-only; whoever writes to it may go on.

    Args:
        folder: the part's.
        keys: of the ledger.

    Attributes:
        folder: as given.
        id: the part's.
        heads: as they are signed, the first first.
        records: its columns (`records.DTYPE`), (n,).

    Raises:
        LedgerError: something in it was changed.
    """

    def __init__(self, folder: Path, keys: Custody) -> None:
        self.folder = folder
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

    def opened(self, kind: Kind = Kind.ANSWER) -> Iterator[Opened]:
        """Every marked query and control, or what else has a payload, each checked against its record.

        Args:
            kind: of the records.

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
            opened = Opened(self.id, index, self.records[index].tobytes(), self.salt(index), payload)
            if not opened.is_whole():
                raise self._changed(f"record {index}")
            missing.discard(index)
            if opened.kind == kind:
                yield opened
        if missing:
            raise self._changed(f"the payload of record {min(missing)}")

    def _with_payload(self) -> set[int]:
        """The records that have one: their seal isn't that of nothing."""
        return {index for index, seal in enumerate(self.records["seal"])
                if bytes(seal) != hashlib.sha256(self.salt(index)).digest()}

    def _check_heads(self) -> None:
        roots = {}
        sizes = []
        for signed in self.heads:
            head = signed.read(Head, str(self.folder / HEADS_FILE))
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
        return LedgerError(f"{self.folder}: {what} was changed after it was written; restore it from a copy: "
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


def served_under(ledger_parts: Sequence[Part], commitment: int) -> list[Opened]:
    """The marked queries and controls that were served under one commitment.

    Raises:
        LedgerError: something was changed.
    """
    return [opened for part in ledger_parts for opened in part.opened() if opened.commitment == commitment]


def accepted(ledger_parts: Sequence[Part]) -> list[Acceptance]:
    """The terms that accounts accepted, the first first; a version once for each account and way.

    Raises:
        LedgerError: something was changed.
    """
    found: dict[tuple[str, Accepted], Acceptance] = {}
    records = [opened for part in ledger_parts for opened in part.opened(Kind.TERMS)]
    for opened in sorted(records, key=lambda record: record.time):
        terms = opened.accepted()
        found.setdefault((opened.account, terms), Acceptance(
            account=opened.account, time=opened.time, version=terms.version, by=terms.by))
    return list(found.values())

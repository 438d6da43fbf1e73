"""The ledger as it is written: an append-only log of what was served, one part a process.

A part is a folder: `id`, `log` (records), `payloads` (marked queries and controls, encrypted) and `heads.jsonl`
(signed sizes and roots of the Merkle tree over the log). A payload and its record are on the disk before the
answer leaves; other records are handed to the system at once, which a killed process doesn't undo.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from counterclone.errors import LedgerError
from counterclone.evidence import Accepted, Entry
from counterclone.prove.commitments import Commitment
from counterclone.prove.custody import Custody
from counterclone.prove.merkle import HASH_BYTES, Frontier
from counterclone.prove.records import FORMAT, SALT_BYTES, Kind, Record, account_bytes
from counterclone.prove.signed import Signed, read_signed
from counterclone.randomness import new_id

LOG_FILE, PAYLOADS_FILE, HEADS_FILE, ID_FILE, LOCK_FILE = "log", "payloads", "heads.jsonl", "id", "lock"
FRAME = struct.Struct("<QI")
"""Before each payload: the number of its record, and its bytes."""
LARGEST_PAYLOAD = 50_000_000
HEAD_SECONDS = 60.0
ID_BYTES = 8
MOST_PARTS = 1000
ACCEPTED_KEPT = 100_000
"""Accounts and versions of the terms that a process remembers to have written down."""


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a part of the ledger was at some time.

    Attributes:
        ledger: the part's id.
        size: its records.
        root: of the tree over them, in hexadecimal.
        time: seconds since 1970.
    """

    ledger: str
    size: int
    root: str
    time: float


class LedgerWriter:
    """One process's part of the ledger.

    Args:
        folder: of the ledger; the first part that nobody writes to is taken.
        keys: for salts, payloads and heads.
        commitment: in force.
        clock: seconds since 1970.

    Attributes:
        folder: of the part.
        id: the part's.
        last_error: why something couldn't be written lately, None while all is well.

    Raises:
        LedgerError: the folder can't be written to, or the part was changed.
    """

    def __init__(self, folder: Path, keys: Custody, commitment: Commitment,
                 clock: Callable[[], float] = time.time) -> None:
        self.last_error: str | None = None
        self._keys, self._commitment, self._clock = keys, commitment, clock
        self._process = os.getpid()
        self._log = self._payloads = self._heads = self._lock = -1
        self._signed_size, self._signed_at = -1, 0.0
        try:
            self._open(folder)
        except OSError as error:
            self._release()
            raise LedgerError(f"{folder}: {error.strerror or error}; the ledger can't be kept there; make it "
                              "writable, or name another folder in [prove] ledger") from None
        except LedgerError:
            self._release()
            raise

    def _open(self, folder: Path) -> None:
        """Take a part, and begin in it with the commitment in force."""
        self.folder, self._lock = _claimed(folder)
        self.id = _id(self.folder)
        self._log = _opened(self.folder / LOG_FILE)
        self._payloads = _opened(self.folder / PAYLOADS_FILE)
        self._heads = _opened(self.folder / HEADS_FILE)
        self._salts = self._keys.salts().subkey(self.id)
        self._cipher = ChaCha20Poly1305(self._keys.payload_key(self.id))
        self._accepted: OrderedDict[bytes, None] = OrderedDict()
        self._frontier = self._recovered()
        self._end = os.fstat(self._payloads).st_size
        self._recall()
        digest = self._commitment.signed.digest.encode()
        self._add([Record(Kind.COMMITMENT, self._commitment.number, self._clock(), bytes(8), b"", digest, digest)])
        self.sign_head()

    @property
    def size(self) -> int:
        """Its records."""
        return self._frontier.size

    def append(self, entries: Sequence[Entry]) -> None:
        """Take the rows of one answer, all or none; on the disk where there is a payload among them.

        Raises:
            LedgerError: they can't be written.
        """
        number = self._commitment.number
        self._add([Record(Kind.ANSWER, number, entry.time, account_bytes(entry.account), entry.cell, entry.answer,
                          entry.payload) for entry in entries])
        if entries and entries[-1].time - self._signed_at >= HEAD_SECONDS:
            self.sign_head()

    def accept(self, account: str, accepted: Accepted) -> None:
        """Take that an account accepted terms, once for each version; on the disk when this returns.

        Raises:
            LedgerError: it can't be written.
        """
        whom, payload = account_bytes(account), msgspec.json.encode(accepted)
        known = whom + payload
        if known in self._accepted:
            return
        self._add([Record(Kind.TERMS, self._commitment.number, self._clock(), whom, b"", payload, payload)])
        self._remember(known)

    def _recall(self) -> None:
        """Which terms were accepted, as this part has it.

        Raises:
            LedgerError: such a payload was changed.
        """
        for index, place, n_bytes in _frames(self._payloads, self.size):
            _, kind, _, _, whom, *_ = FORMAT.unpack(os.pread(self._log, FORMAT.size, index * FORMAT.size))
            if kind != Kind.TERMS:
                continue
            try:
                payload = decrypted(self._cipher, self.id, index, os.pread(self._payloads, n_bytes, place))
            except InvalidTag:
                raise LedgerError(f"{self.folder}: the payload of record {index} was changed after it was "
                                  "written; restore it from a copy") from None
            self._remember(whom + payload)

    def _remember(self, accepted: bytes) -> None:
        """Of more than can be remembered the oldest are forgotten, and written once more when they come again."""
        self._accepted[accepted] = None
        if len(self._accepted) > ACCEPTED_KEPT:
            self._accepted.popitem(last=False)

    def sign_head(self) -> None:
        """Sign size and root as they are now.

        Raises:
            LedgerError: it can't be written.
        """
        if self._signed_size == self.size:
            return
        now = self._clock()
        head = Signed.of(Head(self.id, self.size, self._frontier.root().hex(), now), self._keys)
        try:
            os.fdatasync(self._log)
            _write(self._heads, msgspec.json.encode(head) + b"\n")
            os.fdatasync(self._heads)
        except OSError as error:
            raise self._failed(error) from None
        self._signed_size, self._signed_at = self.size, now

    def close(self) -> None:
        """Sign the last head and let go; an error then is in `last_error`."""
        if self._log < 0 or os.getpid() != self._process:
            return
        try:
            self.sign_head()
        except LedgerError as error:
            self.last_error = str(error)
        self._release()

    def _release(self) -> None:
        """Let go of the files, and so of the part."""
        for descriptor in (self._log, self._payloads, self._heads, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._log = self._payloads = self._heads = self._lock = -1

    def _add(self, records: Sequence[Record]) -> None:
        if self._log < 0:
            raise LedgerError(f"{self.folder}: the ledger is closed")
        if os.getpid() != self._process:  # two that share a part would write over each other's tree
            raise LedgerError(f"{self.folder}: this process was forked from the one that writes here; build the "
                              "guard after the fork, in each worker")
        first = self._frontier.size
        sealed, frames = [], []
        for index, record in enumerate(records, start=first):
            sealed.append(record.sealed(self._salts.digest(index.to_bytes(8, "little"), SALT_BYTES)))
            if record.payload:
                encrypted = self._cipher.encrypt(_nonce(index), record.payload, self.id.encode())
                frames.append(FRAME.pack(index, len(encrypted)) + encrypted)
        try:
            if frames:
                _write(self._payloads, b"".join(frames))
            _write(self._log, b"".join(sealed))
            if frames:
                self._sync()
        except OSError as error:
            self._take_back(first)
            raise self._failed(error) from None
        for each in sealed:
            self._frontier.append(each)
        self._end += sum(map(len, frames))
        self.last_error = None

    def _sync(self) -> None:
        """Wait until both files are on the disk, for both at once, which takes half as long."""
        try:
            with ThreadPoolExecutor(1) as other:
                payloads = other.submit(os.fdatasync, self._payloads)
                os.fdatasync(self._log)
                payloads.result()
        except RuntimeError:  # the system has no thread left
            os.fdatasync(self._payloads)
            os.fdatasync(self._log)

    def _take_back(self, size: int) -> None:
        """Cut what was written of records that don't count; where even that fails, nothing more is taken."""
        try:
            os.ftruncate(self._log, size * FORMAT.size)
            os.ftruncate(self._payloads, self._end)
        except OSError:
            self.close()

    def _failed(self, error: OSError) -> LedgerError:
        self.last_error = f"{self.folder}: {error.strerror or error}; nothing can be written to the ledger"
        return LedgerError(f"{self.last_error}; make room, or make it writable")

    def _recovered(self) -> Frontier:
        """The tree over the log, without what a killed process or a power cut left half written.

        Raises:
            LedgerError: the log isn't what its last head says.
        """
        content = (self.folder / LOG_FILE).read_bytes()
        whole = len(content) // FORMAT.size
        end, opened = _payloads_end(self._payloads, whole)
        size = self._n_opened(content, opened, whole)
        os.ftruncate(self._log, size * FORMAT.size)
        os.ftruncate(self._payloads, end)
        head = _last_head(self.folder / HEADS_FILE, self._heads)
        frontier = Frontier()
        roots = {0: frontier.root().hex()}
        for index in range(size):
            frontier.append(content[index * FORMAT.size:(index + 1) * FORMAT.size])
            if head is not None and frontier.size == head.size:
                roots[head.size] = frontier.root().hex()
        if head is not None and roots.get(head.size) != head.root:
            raise LedgerError(f"{self.folder}: the log isn't the one whose head of {head.size} records was "
                              "signed; it was changed or cut; restore it from a copy")
        return frontier

    def _n_opened(self, content: bytes, opened: int, whole: int) -> int:
        """The records before the first whose payload is lost: a power cut may take the end of one file only.

        Args:
            content: the log.
            opened: the records up to the last payload.
            whole: all of them.
        """
        for index in range(opened, whole):
            salt = self._salts.digest(index.to_bytes(8, "little"), SALT_BYTES)
            if not content.startswith(sha256(salt).digest(), (index + 1) * FORMAT.size - HASH_BYTES):
                return index
        return whole


def _claimed(folder: Path) -> tuple[Path, int]:
    """The first part that nobody else writes to, and its lock."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(MOST_PARTS):
        part = folder / f"{number:04d}"
        part.mkdir(mode=0o700, exist_ok=True)
        descriptor = _opened(part / LOCK_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return part, descriptor
    raise LedgerError(f"{folder}: {MOST_PARTS} processes write to this ledger; stop some")


def _id(folder: Path) -> str:
    """The id of a part: drawn, since two parts that share one would share salts and nonces."""
    path = folder / ID_FILE
    if path.exists():
        return read_id(path)
    descriptor = _opened(path)
    try:
        _write(descriptor, new_id(ID_BYTES).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return read_id(path)


def read_id(path: Path) -> str:
    """The id in a file.

    Raises:
        LedgerError: it holds none.
    """
    text = path.read_text(encoding="ascii", errors="replace").strip()
    if len(text) != 2 * ID_BYTES or set(text) - set("0123456789abcdef"):
        raise LedgerError(f"{path}: expected {2 * ID_BYTES} hexadecimal digits; restore it from a copy")
    return text


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _write(descriptor: int, content: bytes) -> None:
    if os.write(descriptor, content) < len(content):
        raise OSError("the disk took a part only")


def _nonce(index: int) -> bytes:
    return bytes(4) + index.to_bytes(8, "little")


def decrypted(cipher: ChaCha20Poly1305, ledger_id: str, index: int, content: bytes) -> bytes:
    """The payload of a record.

    Raises:
        InvalidTag: it was changed.
    """
    return cipher.decrypt(_nonce(index), content, ledger_id.encode())


def _payloads_end(descriptor: int, size: int) -> tuple[int, int]:
    """Where the payloads of the first `size` records end, and how many records there are up to the last one."""
    end = opened = 0
    for index, place, n_bytes in _frames(descriptor, size):
        end, opened = place + n_bytes, index + 1
    return end, opened


def _frames(descriptor: int, size: int) -> Iterator[tuple[int, int, int]]:
    """The payloads of the first `size` records that are there whole: whose, where, and their bytes."""
    place, whole = 0, os.fstat(descriptor).st_size
    while True:
        head = os.pread(descriptor, FRAME.size, place)
        if len(head) < FRAME.size:
            return
        index, n_bytes = FRAME.unpack(head)
        place += FRAME.size
        if index >= size or place + n_bytes > whole:
            return
        yield index, place, n_bytes
        place += n_bytes


def _last_head(path: Path, descriptor: int) -> Head | None:
    """The last head that was written whole; half a one is cut."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    os.ftruncate(descriptor, end)
    lines = content[:end].splitlines()
    return read_signed(lines[-1], str(path)).read(Head, str(path)) if lines else None

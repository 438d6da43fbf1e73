"""The keys of the marks: one root that never leaves, and what is derived from it."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from counterclone.errors import LedgerError
from counterclone.randomness import KEY_BYTES, Prf, new_secret

ROOT_FILE = "root.key"
SIGNING_FILE = "signing.key"

logger = logging.getLogger(__name__)


class Custody:
    """The keys in a folder.

    Epoch keys are HKDF-SHA256 (RFC 5869, no salt) of the root key, one for each commitment: revealing one tells
    nothing about another. The key that signs commitments and heads of the ledger is drawn by itself.

    Args:
        root: 32 bytes.
        signing: 32 bytes, of Ed25519.

    Attributes:
        signer: the public half of the signing key, in hexadecimal.
    """

    def __init__(self, root: bytes, signing: bytes) -> None:
        self._root = root
        self._signing = Ed25519PrivateKey.from_private_bytes(signing)
        self.signer = self._signing.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    @classmethod
    def make(cls, folder: Path) -> Custody:
        """New keys, in files that only their owner reads.

        Raises:
            LedgerError: there are keys already, or they can't be written.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in (SIGNING_FILE, ROOT_FILE):  # who finds the root finds both
                _write_new(folder / name, new_secret())
        except FileExistsError as error:
            raise LedgerError(f"{error.filename}: there is a mark key already, and losing it loses what it "
                              "proves; use it, or name another folder in [prove] keys") from None
        except OSError as error:
            raise unwritable(folder, error) from None
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> Custody:
        """The keys of a folder.

        Raises:
            LedgerError: there are none, or they aren't keys.
        """
        return cls(_read(folder / ROOT_FILE), _read(folder / SIGNING_FILE))

    @classmethod
    def kept(cls, folder: Path) -> Custody:
        """The keys of a folder; where there are none they are made, by one of the processes that want them.

        Raises:
            LedgerError: they aren't keys, or can't be kept there.
        """
        with locked(folder):
            if (folder / ROOT_FILE).exists():
                return cls.load(folder)
            logger.warning("%s: made a mark key. Keep a copy elsewhere: without it nothing can be proven", folder)
            return cls.make(folder)

    def epoch_key(self, number: int) -> bytes:
        """The key of a commitment: 32 bytes."""
        return self._derived(f"counterclone/epoch/1/{number}")

    def salts(self) -> Prf:
        """What the ledger's salts are drawn from; it is never revealed, a salt at a time is."""
        return Prf(self._derived("counterclone/ledger/1"))

    def payload_key(self, ledger_id: str) -> bytes:
        """What encrypts the marked queries of a part of the ledger: 32 bytes."""
        return self._derived(f"counterclone/payload/1/{ledger_id}")

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature: 64 bytes."""
        return self._signing.sign(message)

    def _derived(self, info: str) -> bytes:
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info.encode()).derive(self._root)

    def __repr__(self) -> str:  # a key never reaches a log
        return "Custody(...)"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A folder, made where there is none, with one writer at a time: several guards may start at once.

    Raises:
        LedgerError: it can't be made or opened.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def unwritable(folder: Path, error: OSError) -> LedgerError:
    """What is said of a folder of keys and commitments that can't be written to."""
    return LedgerError(f"{folder}: {error.strerror or error}; mark keys and commitments can't be kept there; "
                       "make it writable, or name another folder in [prove] keys")


def key_commitment(key: bytes) -> str:
    """What binds an epoch's key without telling it: a hash, in hexadecimal."""
    return hashlib.sha256(b"counterclone/key/1" + key).hexdigest()


def mark_key(epoch_key: bytes, kind: str) -> Prf:
    """A mark's own key of an epoch."""
    return Prf(epoch_key).subkey(f"mark/{kind}")


def order_key(epoch_key: bytes) -> Prf:
    """What draws the order of the queries, and the decoys."""
    return Prf(epoch_key).subkey("order")


def is_signed(signer: str, message: bytes, signature: str) -> bool:
    """Whether a message has a signature of a public key, both in hexadecimal."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(signer)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _write_new(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text.encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            logger.warning("%s: others may read this key; chmod 600 it", path)
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        raise LedgerError(f"{path}: there is no mark key; `counterclone keys marks create` makes one, or name the "
                          "folder that has it in [prove] keys") from None
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror or error}; expected a mark key; let it be read") from None
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise LedgerError(f"{path}: isn't a mark key; expected 64 hexadecimal digits; restore it from a copy")
    return key

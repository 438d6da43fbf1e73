"""A statement and its signature: the very text that was signed is kept, so nobody has to spell it again."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import msgspec

from counterclone.errors import LedgerError
from counterclone.prove import custody
from counterclone.prove.custody import Custody

T = TypeVar("T")


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A statement with a signature of it.

    Attributes:
        statement: JSON, as it was signed.
        signature: Ed25519, over its UTF-8 bytes, in hexadecimal.
    """

    statement: str
    signature: str

    @classmethod
    def of(cls, statement: object, keys: Custody) -> Signed:
        """Sign something."""
        text = msgspec.json.encode(statement)
        return cls(text.decode(), keys.sign(text).hex())

    @property
    def digest(self) -> str:
        """SHA-256 of the statement, in hexadecimal."""
        return hashlib.sha256(self.statement.encode()).hexdigest()

    def read(self, kind: type[T], where: str) -> T:
        """What it states, unchecked.

        Raises:
            LedgerError: it isn't of that kind.
        """
        try:
            return msgspec.json.decode(self.statement, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise LedgerError(f"{where}: {error}; the file was changed; restore it from a copy") from None

    def is_by(self, signer: str) -> bool:
        """Whether that key signed it."""
        return custody.is_signed(signer, self.statement.encode(), self.signature)


def read_signed(content: bytes, where: str) -> Signed:
    """A signed statement of a file.

    Raises:
        LedgerError: it isn't one.
    """
    try:
        return msgspec.json.decode(content, type=Signed)
    except (msgspec.DecodeError, RecursionError) as error:
        raise LedgerError(f"{where}: {error}; expected a signed statement; restore it from a copy") from None

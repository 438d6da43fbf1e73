"""The ledger's records: of a fixed size, with nothing in them that tells what was asked or marked.

A record is 118 bytes, little endian: version, kind, number of the commitment, time, account, and three SHA-256
hashes under one salt: of the query, of the answer, and of the payload, which is empty but for marked queries and
controls. Without the salt nobody can tell which these are; with it, a record opens to what it was made from.
"""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum
from typing import NamedTuple

import numpy as np

VERSION = 1
FORMAT = struct.Struct("<BBId8s32s32s32s")
SALT_BYTES = 16
ACCOUNT_BYTES = 8
DTYPE = np.dtype([("version", "u1"), ("kind", "u1"), ("commitment", "<u4"), ("time", "<f8"), ("account", "V8"),
                  ("query", "V32"), ("answer", "V32"), ("seal", "V32")])


class Kind(IntEnum):
    """What a record is of."""

    ANSWER = 1
    COMMITMENT = 2
    """A process began to serve under a commitment."""
    TERMS = 3
    """An account accepted a version of the terms."""


class Record(NamedTuple):
    """What a record is made from.

    Attributes:
        kind: what it is of.
        commitment: the number of the commitment in force.
        time: seconds since 1970.
        account: 8 bytes, zero where there is none.
        query: the canonical query.
        answer: what was served; the digest of the commitment; the terms that were accepted.
        payload: what opens a marked query or a control; as the answer where it is of no answer.
    """

    kind: Kind
    commitment: int
    time: float
    account: bytes
    query: bytes
    answer: bytes
    payload: bytes

    def sealed(self, salt: bytes) -> bytes:
        """The record, 118 bytes."""
        sha256 = hashlib.sha256
        return FORMAT.pack(VERSION, self.kind, self.commitment, self.time, self.account,
                           sha256(salt + self.query).digest(), sha256(salt + self.answer).digest(),
                           sha256(salt + self.payload).digest())


def account_bytes(account: str) -> bytes:
    """An account's id as 8 bytes; of a name that isn't an id, a hash."""
    try:
        found = bytes.fromhex(account)
    except ValueError:
        found = b""
    if len(found) == ACCOUNT_BYTES:
        return found
    return hashlib.sha256(account.encode()).digest()[:ACCOUNT_BYTES] if account else bytes(ACCOUNT_BYTES)

"""Keyed pseudo-random functions and seeded generators; nothing else draws randomness.

Noise is a function of a key and of the query's canonical form, the same for everybody, so repeating a
query or comparing accounts averages nothing away. One BLAKE2b call per row derives a seed, SHAKE-128
expands it, and a table of 65,536 normal quantiles turns 16-bit words into normal deviates: about 6 us
for 1,000 of them, and the same on every platform.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

KEY_BYTES = 32
Generator = np.random.Generator  # noqa: TID251
WORD_VALUES = 1 << 16


@functools.cache
def normal_table() -> NDArray[np.float64]:
    """Normal quantiles at the midpoints of 65,536 equal probabilities, scaled to variance 1: (words,)."""
    midpoints = (np.arange(WORD_VALUES) + 0.5) / WORD_VALUES
    quantiles = np.asarray(ndtri(midpoints), dtype=np.float64)
    table: NDArray[np.float64] = quantiles / quantiles.std()
    table.setflags(write=False)
    return table


class Prf:
    """A pseudo-random function under one key of 32 bytes (keyed BLAKE2b).

    Subkeys are derived by label, so that a key serves one purpose only.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, this one has {len(key)}")
        self._key = key

    @classmethod
    def from_secret(cls, secret: str | bytes) -> Prf:
        """The root key of a secret of any length (unkeyed BLAKE2b, domain-separated)."""
        data = secret.encode() if isinstance(secret, str) else secret
        return cls(hashlib.blake2b(data, digest_size=KEY_BYTES, person=b"counterclone/1").digest())

    def subkey(self, label: str) -> Prf:
        """The key for one purpose, for example `noise` or `accounts`."""
        return Prf(self.digest(label.encode(), KEY_BYTES))

    def digest(self, data: bytes, size: int = 16) -> bytes:
        """A digest of `size` bytes (1 to 64) that nobody without the key can compute."""
        return hashlib.blake2b(data, digest_size=size, key=self._key).digest()

    def number(self, data: bytes) -> int:
        """A digest as an unsigned 64-bit number."""
        return int.from_bytes(self.digest(data, 8), "little")

    def numbers(self, data: Sequence[bytes]) -> NDArray[np.uint64]:
        """`number` of each: (n,)."""
        keyed = hashlib.blake2b(digest_size=8, key=self._key)
        digests = []
        for each in data:
            hashed = keyed.copy()  # spares the key's own block
            hashed.update(each)
            digests.append(hashed.digest())
        return np.frombuffer(b"".join(digests), dtype="<u8")

    def words(self, data: bytes, n: int) -> NDArray[np.uint16]:
        """`n` uniform 16-bit words for `data`; a longer draw starts with the shorter one: (n,)."""
        stream = hashlib.shake_128(self.digest(data, KEY_BYTES)).digest(2 * n)
        return np.frombuffer(stream, dtype="<u2")

    def normals(self, data: bytes, n: int) -> NDArray[np.float64]:
        """`n` standard normal deviates for `data`, at most 4.3 in size: (n,)."""
        return normal_table()[self.words(data, n)]

    def __repr__(self) -> str:  # a key never reaches a log
        return "Prf(...)"


def new_secret() -> str:
    """256 bits from the operating system, as 64 hexadecimal digits."""
    return secrets.token_hex(KEY_BYTES)


def new_id(n_bytes: int) -> str:
    """A random identifier from the operating system, in hexadecimal."""
    return os.urandom(n_bytes).hex()


_process_ids = [b""]
_serial = itertools.count()


def _begin_process() -> None:
    _process_ids[0] = os.urandom(6).hex().encode()


_begin_process()
os.register_at_fork(after_in_child=_begin_process)


def new_request_id() -> bytes:
    """An identifier that no other request of any process has; it tells nothing and keeps no secret."""
    return b"%s%08x" % (_process_ids[0], next(_serial))


def generator(seed: int, *path: str | int) -> Generator:
    """A generator for one part of a seeded run; parts with different paths are independent.

    Args:
        seed: the run's seed, as printed in its report.
        path: what the draw is for, for example `("copier", 3)`.
    """
    label = "/".join([str(seed), *map(repr, path)]).encode()  # repr keeps ("a/b",) from ("a", "b")
    entropy = hashlib.blake2b(label, digest_size=16, person=b"generator").digest()
    return Generator(np.random.PCG64(int.from_bytes(entropy, "little")))  # noqa: TID251

"""Listed API keys: made once, shown once, kept as keyed hashes."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from counterclone.errors import ConfigError
from counterclone.randomness import Prf, new_id, new_secret

logger = logging.getLogger(__name__)

PREFIX = "cc_live_"
ID_BYTES = 4
RELOAD_SECONDS = 1.0


class KeyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key as it is kept.

    Attributes:
        id: the visible part, `cc_live_` and eight digits.
        name: whose it is, in the owner's words.
        created: seconds since 1970.
        hash: the keyed hash of the whole key.
    """

    id: str
    name: str
    created: float
    hash: str


class KeyRing:
    """The file of listed keys; a key made or removed while the guard runs is so to it within a second.

    Args:
        path: the file, JSON, readable by its owner only.
        prf: keys the hashes.
        clock: seconds that never go back.

    Raises:
        ConfigError: the file isn't a key file.
    """

    def __init__(self, path: Path, prf: Prf, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._prf = prf
        self._clock = clock
        self._checked = clock()
        self._version = _version(path)
        self._keep(self._read())

    @property
    def records(self) -> list[KeyRecord]:
        """Every key, oldest first."""
        return list(self._by_hash.values())

    def create(self, name: str) -> str:
        """Make a key and keep its hash.

        Returns:
            The key; it can't be shown again.

        Raises:
            ConfigError: the file can't be written.
        """
        key_id = PREFIX + new_id(ID_BYTES)
        body = f"{key_id}_{new_secret()}"
        key = body + _checksum(body)
        record = KeyRecord(id=key_id, name=name, created=time.time(), hash=self._hash(key))
        try:
            with _locked(self._path):
                records = [*self._read(), record]
                self._write(records)
                self._version = _version(self._path)
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}; keys can't be kept there, so none was made; make "
                              "its folder writable or set [accounts] keys_file") from None
        self._keep(records)
        return key

    def find(self, key: str) -> KeyRecord | None:
        """The record of a key, None where it isn't listed or was mistyped."""
        if not key.startswith(PREFIX) or _checksum(key[:-8]) != key[-8:]:
            return None
        if self._has_changed():
            try:
                self._keep(self._read())
            except ConfigError as error:
                logger.error("%s; the keys read before stay valid", error)
        return self._by_hash.get(self._hash(key))

    def _keep(self, records: list[KeyRecord]) -> None:
        self._by_hash = {record.hash: record for record in records}

    def _has_changed(self) -> bool:
        now = self._clock()
        if now - self._checked < RELOAD_SECONDS:
            return False
        self._checked = now
        before, self._version = self._version, _version(self._path)
        return before != self._version

    def _hash(self, key: str) -> str:
        return self._prf.digest(key.encode(), 32).hex()

    def _read(self) -> list[KeyRecord]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[KeyRecord])
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:  # whatever msgspec says of a file that isn't ours
            raise ConfigError(f"{self._path}: {error}; expected a key file that `counterclone keys create` "
                              "made; restore it or move it away") from None

    def _write(self, records: list[KeyRecord]) -> None:
        partial = self._path.with_name(f"{self._path.name}.{new_id(4)}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(records)))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
        finally:
            partial.unlink(missing_ok=True)


def _checksum(body: str) -> str:
    """A typing mistake is told from an unknown key, and scanners can find leaked keys by it."""
    return f"{zlib.crc32(body.encode()):08x}"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock beside a file: what two processes read and write back at once loses nothing."""
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _version(path: Path) -> tuple[int, int, int] | None:
    """What changes with every writing of a file, None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size

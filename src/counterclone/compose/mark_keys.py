"""The file's mark keys and commitments, for who looks after them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from counterclone import config as configuration
from counterclone.compose.marks import committed_terms, timestamp_authority
from counterclone.config import Config
from counterclone.errors import ConfigError, LedgerError
from counterclone.prove import timestamps
from counterclone.prove.commitments import Chain, Commitment, Terms
from counterclone.prove.custody import Custody
from counterclone.prove.timestamps import Roots, Stamp


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """Mark keys as others may know them.

    Attributes:
        folder: where they are.
        signer: the public key that commitments and the ledger's heads are signed by, in hexadecimal.
    """

    folder: str
    signer: str


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """A commitment as others may know it.

    Attributes:
        number: its place in the chain.
        created: seconds since 1970, by the clock of who made it.
        digest: SHA-256 of the statement, in hexadecimal: what is published or timestamped.
        key: the commitment to the epoch's key, in hexadecimal.
        model: the target's name.
        epoch: of its release.
        marks: each with its options.
        timestamp: of an authority, None where it has none or nothing checks it.
    """

    number: int
    created: float
    digest: str
    key: str
    model: str
    epoch: str
    marks: tuple[Mapping[str, Any], ...]
    timestamp: Stamp | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is committed to from the guard's next start on.

    Attributes:
        commitment: the last of the chain.
        is_new: whether it was made just now.
        problem: why it has no timestamp, None where it has one or nobody is asked.
    """

    commitment: Committed
    is_new: bool
    problem: str | None = None


def create(config_file: str | None) -> Keys:
    """Make the file's mark keys.

    Raises:
        ConfigError: the file has mistakes.
        LedgerError: there are keys already, or they can't be written.
    """
    config, base = _read(config_file)
    folder = base / config.prove.keys
    return Keys(folder=str(folder), signer=Custody.make(folder).signer)


def commit(config_file: str | None) -> Change:
    """Commit to what the file's marks are, where the last commitment doesn't say so already.

    Raises:
        ConfigError: the file has mistakes, or no mark.
        LedgerError: there are no keys, or the chain is broken or can't be written to.
    """
    config, base = _read(config_file)
    terms, chain = _terms(config), _chain(config, base)
    n_before = len(chain.all())
    found = chain.in_force(terms, time.time())
    return _stamped(config, base, found, is_new=found.number > n_before)


def rotate(config_file: str | None) -> Change:
    """Commit to the next key, also where nothing else changed.

    Raises:
        ConfigError: as for `commit`.
        LedgerError: likewise.
    """
    config, base = _read(config_file)
    terms, chain = _terms(config), _chain(config, base)
    return _stamped(config, base, chain.commit(terms, time.time()), is_new=True)


def commitments(config_file: str | None) -> list[Committed]:
    """All commitments, the first first; checked, and their timestamps with them.

    Raises:
        ConfigError: the file has mistakes.
        LedgerError: there are no keys, the chain is broken, or a timestamp is none.
    """
    config, base = _read(config_file)
    chain = _chain(config, base).all()
    return [_told(config, base, each) for each in chain]


def _read(config_file: str | None) -> tuple[Config, Path]:
    """The file, and its folder."""
    path = configuration.find(config_file)
    return configuration.load(path), path.parent


def _terms(config: Config) -> Terms:
    found = committed_terms(config)
    if not found.marks:
        raise ConfigError("[[mark]]: the file has no mark to commit to; add a table such as kind = \"triggers\"")
    return found


def _chain(config: Config, base: Path) -> Chain:
    folder = base / config.prove.keys
    return Chain(folder, Custody.load(folder))


def _stamped(config: Config, base: Path, commitment: Commitment, *, is_new: bool) -> Change:
    """A commitment with its timestamp; it stands without one, and guards ask again."""
    problem = None
    try:
        authority = timestamp_authority(config, base)
        if authority is not None:
            timestamps.stamp_commitments(base / config.prove.keys, authority)
    except (LedgerError, OSError) as error:
        problem = str(error)
    return Change(commitment=_told(config, base, commitment), is_new=is_new, problem=problem)


def _told(config: Config, base: Path, commitment: Commitment) -> Committed:
    """A commitment, with its timestamp where something checks it."""
    statement, stamp = commitment.statement, None
    if config.prove.timestamp_roots:
        roots = Roots.load(base / config.prove.timestamp_roots)
        stamp = timestamps.of_commitment(base / config.prove.keys, commitment.number, commitment.signed, roots)
    return Committed(number=statement.number, created=statement.created, digest=commitment.signed.digest,
                     key=statement.key, model=statement.terms.model, epoch=statement.terms.epoch,
                     marks=statement.terms.marks, timestamp=stamp)

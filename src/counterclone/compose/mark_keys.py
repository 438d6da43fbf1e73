"""The file's mark keys and commitments, for who looks after them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from counterclone import config as configuration
from counterclone.compose.marks import committed_terms
from counterclone.config import Config
from counterclone.errors import ConfigError
from counterclone.prove.commitments import Chain, Commitment
from counterclone.prove.custody import Custody


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
    """

    number: int
    created: float
    digest: str
    key: str
    model: str
    epoch: str
    marks: tuple[Mapping[str, Any], ...]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is committed to from the guard's next start on.

    Attributes:
        commitment: the last of the chain.
        is_new: whether it was made just now.
    """

    commitment: Committed
    is_new: bool


def create(config_file: str | None) -> Keys:
    """Make the file's mark keys.

    Raises:
        ConfigError: the file has mistakes.
        LedgerError: there are keys already, or they can't be written.
    """
    _, folder = _read(config_file)
    return Keys(folder=str(folder), signer=Custody.make(folder).signer)


def commit(config_file: str | None) -> Change:
    """Commit to what the file's marks are, where the last commitment doesn't say so already.

    Raises:
        ConfigError: the file has mistakes, or no mark.
        LedgerError: there are no keys, or the chain is broken or can't be written to.
    """
    config, folder = _read(config_file)
    terms = committed_terms(_with_marks(config))
    chain = Chain(folder, Custody.load(folder))
    n_before = len(chain.all())
    found = chain.in_force(terms, time.time())
    return Change(commitment=_told(found), is_new=found.number > n_before)


def rotate(config_file: str | None) -> Change:
    """Commit to the next key, also where nothing else changed.

    Raises:
        ConfigError: as for `commit`.
        LedgerError: likewise.
    """
    config, folder = _read(config_file)
    terms = committed_terms(_with_marks(config))
    return Change(commitment=_told(Chain(folder, Custody.load(folder)).commit(terms, time.time())), is_new=True)


def commitments(config_file: str | None) -> list[Committed]:
    """All commitments, the first first; checked.

    Raises:
        ConfigError: the file has mistakes.
        LedgerError: there are no keys, or the chain is broken.
    """
    _, folder = _read(config_file)
    return [_told(each) for each in Chain(folder, Custody.load(folder)).all()]


def _read(config_file: str | None) -> tuple[Config, Path]:
    """The file, and the folder of its mark keys."""
    path = configuration.find(config_file)
    config = configuration.load(path)
    return config, path.parent / config.prove.keys


def _with_marks(config: Config) -> Config:
    if not config.mark:
        raise ConfigError("[[mark]]: the file has no mark to commit to; add a table such as kind = \"triggers\"")
    return config


def _told(commitment: Commitment) -> Committed:
    statement = commitment.statement
    return Committed(number=statement.number, created=statement.created, digest=commitment.signed.digest,
                     key=statement.key, model=statement.terms.model, epoch=statement.terms.epoch,
                     marks=statement.terms.marks)

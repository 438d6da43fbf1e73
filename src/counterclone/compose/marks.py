"""The file's marks to what puts them into answers: keys, a commitment and a ledger before the first answer."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path
from typing import cast

import msgspec

from counterclone import plugins
from counterclone.config import Config
from counterclone.errors import ConfigError, LedgerError
from counterclone.guard.marking import Marking
from counterclone.protocols import Watermark
from counterclone.prove import custody
from counterclone.prove.commitments import Chain, Commitment, Terms
from counterclone.prove.custody import Custody
from counterclone.prove.ledger import LedgerWriter
from counterclone.randomness import Prf

logger = logging.getLogger(__name__)


class Marker:
    """A guard's marking and the ledger that it writes.

    Args:
        config: the checked file, with one mark.
        folder: the file's folder, which relative paths start from.

    Attributes:
        marking: puts the mark into answers.

    Raises:
        ConfigError: the file's marks can't be put into rows, or keys, commitments or ledger can't be kept.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        kind, mark = watermark(config)
        try:
            keys = _keys(folder / config.prove.keys)
            commitment = Chain(folder / config.prove.keys, keys).in_force(committed(config), time.time())
            self._ledger = LedgerWriter(folder / config.prove.ledger, keys, commitment)
        except LedgerError as error:
            raise ConfigError(str(error)) from None
        self.marking = Marking(kind, mark, mark_key(keys, commitment, kind), self._ledger, time.time)

    def troubles(self) -> list[str]:
        """What doesn't work just now, in words."""
        error = self.marking.last_error
        return [f"ledger: {error}; answers go out unmarked"] if error else []

    def close(self) -> None:
        """Sign the ledger's last head."""
        self._ledger.close()


def watermark(config: Config) -> tuple[str, Watermark]:
    """The file's mark, and its kind.

    Raises:
        ConfigError: there are several, or it can't be put into rows of probabilities.
    """
    if len(config.mark) > 1:
        raise ConfigError("[[mark]]: a row carries one mark; leave one table")
    spec = plugins.build("marks", config.mark[0], "[[mark]]")
    kind = plugins.kind_of(spec)
    if not hasattr(spec, "embed"):
        raise ConfigError(f"[[mark]]: '{kind}' isn't put into probabilities; expected `triggers`")
    return kind, cast(Watermark, spec)


def committed(config: Config) -> Terms:
    """What the file's marks commit to; options that were left out with their defaults."""
    kind, mark = watermark(config)
    options = msgspec.to_builtins(mark)
    return Terms(model=config.target.url, epoch=config.target.epoch, marks=({"kind": kind, **options},),
                 budget=config.prove.budget, alpha=config.prove.alpha, decoys=config.prove.decoys)


def mark_key(keys: Custody, commitment: Commitment, kind: str) -> Prf:
    """A mark's own key under a commitment."""
    return Prf(keys.epoch_key(commitment.number)).subkey(f"mark/{kind}")


def _keys(folder: Path) -> Custody:
    """The keys of a folder, made where there are none, by one of the workers."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LedgerError(f"{folder}: {error.strerror or error}; mark keys can't be kept there; make it writable, "
                          "or name another folder in [prove] keys") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if custody.exists(folder):
            return Custody.load(folder)
        logger.warning("%s: made a mark key. Keep a copy elsewhere: without it nothing can be proven", folder)
        return Custody.make(folder)
    finally:
        os.close(descriptor)

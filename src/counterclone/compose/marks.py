"""The file's marks to what puts them into answers: keys, a commitment and a ledger before the first answer."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from counterclone import plugins
from counterclone.compose.watermarks import check_timestamps, watermark
from counterclone.config import Config
from counterclone.errors import ConfigError, LedgerError
from counterclone.guard.marking import Marking
from counterclone.prove.commitments import Chain, Terms
from counterclone.prove.custody import Custody, mark_key
from counterclone.prove.ledger import LedgerWriter
from counterclone.prove.timestamps import Authority, Roots, Stamper


class Marker:
    """A guard's marking and the ledger that it writes.

    Args:
        config: the checked file, with one mark for rows.
        folder: the file's folder, which relative paths start from.

    Attributes:
        marking: puts the mark into answers.

    Raises:
        ConfigError: the file's marks can't be put into rows, or keys, commitments or ledger can't be kept.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        found = watermark(config)
        assert found is not None  # of a file without marks there is nothing to make
        kind, mark = found
        try:
            keys = Custody.kept(folder / config.prove.keys)
            chain = Chain(folder / config.prove.keys, keys)
            commitment = chain.in_force(committed_terms(config), time.time())
            authority = timestamp_authority(config, folder)
            self._ledger = LedgerWriter(folder / config.prove.ledger, keys, commitment)
        except LedgerError as error:
            raise ConfigError(str(error)) from None
        self._stamper = authority and Stamper(authority, folder / config.prove.keys, self._ledger.folder)
        key = mark_key(keys.epoch_key(commitment.number), kind)
        self.marking = Marking(kind, mark, key, self._ledger, time.time)

    def troubles(self) -> list[str]:
        """What doesn't work just now, in words."""
        error = self.marking.last_error
        found = [f"ledger: {error}; answers go out unmarked"] if error else []
        error = self._stamper.last_error if self._stamper else None
        return [*found, f"timestamps: {error}"] if error else found

    def close(self) -> None:
        """Sign the ledger's last head."""
        if self._stamper:
            self._stamper.close()
        self._ledger.close()


def timestamp_authority(config: Config, folder: Path) -> Authority | None:
    """The file's timestamp authority, None where it has none.

    Raises:
        ConfigError: there is nothing to check it by.
        LedgerError: its certificates can't be read, or the extra isn't installed.
    """
    if not config.prove.timestamp_url:
        return None
    check_timestamps(config)
    return Authority(config.prove.timestamp_url, Roots.load(folder / config.prove.timestamp_roots))


def committed_terms(config: Config) -> Terms:
    """What the file's marks commit to, all but fingerprints; options that were left out with their defaults.

    Raises:
        ConfigError: a table is none of a mark.
    """
    built = [plugins.build("marks", table, "[[mark]]") for table in config.mark]
    marks = tuple({"kind": plugins.kind_of(spec), **msgspec.to_builtins(spec)} for spec in built
                  if not hasattr(spec, "compare"))
    return Terms(model=config.target.url, epoch=config.target.epoch, marks=marks,
                 budget=config.prove.budget, alpha=config.prove.alpha, decoys=config.prove.decoys)

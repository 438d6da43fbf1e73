"""Canaries in the texts of a server of your own: each that is written is listed, and the list is tested by."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import msgspec

from counterclone import config as configuration
from counterclone import plugins
from counterclone.compose import mark_keys
from counterclone.errors import ConfigError
from counterclone.marks.canaries import Canaries
from counterclone.prove.custody import Custody, mark_key
from counterclone.prove.written import Canary, Text
from counterclone.queries import canonical_value

logger = logging.getLogger(__name__)


class CanaryWriter:
    """Writes the file's canaries into finished texts, under a commitment that is there before the first.

    Args:
        config_file: the file, None for the one that verbs would find.
        path: the list, which lines are added to; prompts and texts are in it as they are.

    Raises:
        ConfigError: the file has mistakes, or no canaries, or the list can't be opened.
        LedgerError: there are no keys, or the chain can't be written to.
    """

    def __init__(self, config_file: str | None, path: Path) -> None:
        found = configuration.find(config_file)
        config = configuration.load(found)
        specs = [plugins.build("marks", table, "[[mark]]") for table in config.mark]
        mark = next((spec for spec in specs if isinstance(spec, Canaries)), None)
        if mark is None:
            raise ConfigError('[[mark]]: the file has no canaries; add a table with kind = "canaries"')
        change = mark_keys.commit(config_file)
        epoch_key = Custody.load(found.parent / config.prove.keys).epoch_key(change.commitment.number)
        self._mark, self._key = mark, mark_key(epoch_key, plugins.kind_of(mark))
        try:
            self._list = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}; expected a file that lines can be "
                              "added to") from None

    def write(self, account: str, prompt: str, text: str) -> str:
        """The text as it is to be served: the model's own, or one that is on the list by then.

        Args:
            account: whom it is served to.
            prompt: what it answers.
            text: the model's.
        """
        (served,), roles = self._mark.embed_text(self._key, [canonical_value(prompt)], [text])
        if not roles.any():
            return text
        line = Canary(account, Text(prompt), Text(served), Text(text), time.time())
        try:
            os.write(self._list, msgspec.json.encode(line) + b"\n")
            os.fdatasync(self._list)
        except OSError as error:
            logger.error("the list of canaries can't be written: %s; texts are served unmarked", error)
            return text
        return served

    def close(self) -> None:
        """Close the list."""
        os.close(self._list)

"""The file's mark as what puts it into rows; apart from keys and ledger, which only a guard with marks needs."""

from __future__ import annotations

from typing import cast

from counterclone import plugins
from counterclone.config import Config
from counterclone.errors import ConfigError
from counterclone.protocols import Watermark


def watermark(config: Config) -> tuple[str, Watermark] | None:
    """The mark that the guard puts into rows of probabilities, and its kind; None where the file has none.

    Others are put in where texts are sampled, or are fingerprints that change nothing.

    Raises:
        ConfigError: there are several.
    """
    specs = [plugins.build("marks", table, "[[mark]]") for table in config.mark]
    found = [spec for spec in specs if hasattr(spec, "embed")]
    if len(found) > 1:
        raise ConfigError("[[mark]]: a row carries one mark; leave one table")
    return (plugins.kind_of(found[0]), cast(Watermark, found[0])) if found else None

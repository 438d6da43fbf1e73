"""The file's mark as what puts it into rows; apart from keys and ledger, which only a guard with marks needs."""

from __future__ import annotations

from typing import cast

from counterclone import plugins
from counterclone.config import Config
from counterclone.errors import ConfigError
from counterclone.protocols import Watermark


def watermark(config: Config) -> tuple[str, Watermark] | None:
    """The file's mark and its kind; None where it has none.

    Raises:
        ConfigError: there are several, or it can't be put into rows of probabilities.
    """
    if not config.mark:
        return None
    if len(config.mark) > 1:
        raise ConfigError("[[mark]]: a row carries one mark; leave one table")
    spec = plugins.build("marks", config.mark[0], "[[mark]]")
    kind = plugins.kind_of(spec)
    if not hasattr(spec, "embed"):
        raise ConfigError(f"[[mark]]: '{kind}' isn't put into probabilities; expected `triggers`")
    return kind, cast(Watermark, spec)

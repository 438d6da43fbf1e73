"""The file's mark as what puts it into rows; apart from keys and ledger, which only a guard with marks needs."""

from __future__ import annotations

from typing import cast

from counterclone import plugins
from counterclone.config import Config
from counterclone.errors import ConfigError
from counterclone.protocols import TextWatermark, Watermark


def watermark(config: Config) -> tuple[str, Watermark | TextWatermark] | None:
    """The mark that the guard puts into probabilities or texts, and its kind; None where the file has none.

    Others are put in where texts are sampled, or are fingerprints that change nothing.

    Raises:
        ConfigError: there are several.
    """
    specs = [plugins.build("marks", table, "[[mark]]") for table in config.mark]
    found = [spec for spec in specs if hasattr(spec, "embed") or hasattr(spec, "embed_text")]
    if len(found) > 1:
        raise ConfigError("[[mark]]: a row carries one mark, and so does a text; leave one table")
    return (plugins.kind_of(found[0]), cast("Watermark | TextWatermark", found[0])) if found else None


def check_timestamps(config: Config) -> None:
    """That something checks what a timestamp authority says.

    Raises:
        ConfigError: nothing does.
    """
    if config.prove.timestamp_url and not config.prove.timestamp_roots:
        raise ConfigError("[prove] timestamp_roots: is needed with timestamp_url; name the file with the root "
                          "certificate that the authority publishes")

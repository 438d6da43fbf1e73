"""The configurations that were in force, as the console shows them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from counterclone.config import read_live
from counterclone.console.sheets import Version

MOST_VERSIONS = 50


def versions(history: Path, digest: str) -> list[Version]:
    """The last ones, the last first.

    Args:
        history: the file that `config.History` writes.
        digest: of the settings in force.
    """
    live = read_live(history)
    found = [_version(event, before, is_live=event is live[-1] and event.get("digest") == digest)
             for event, before in zip(live, [None, *live], strict=False)]
    return found[:-MOST_VERSIONS - 1:-1]


def _version(event: Mapping[str, Any], before: Mapping[str, Any] | None, *, is_live: bool) -> Version:
    return Version(
        digest=str(event.get("digest", "")), time=float(event["time"]), is_live=is_live,
        difference=[] if before is None else _difference(before, event), text=str(event.get("text", "")))


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Line by line, of the files where both were kept, else of the settings."""
    if before.get("text") and after.get("text"):
        old, new = (str(each["text"]).splitlines() for each in (before, after))
    else:
        old, new = (msgspec.toml.encode(each.get("config") or {}).decode().splitlines()
                    for each in (before, after))
    return list(difflib.unified_diff(old, new, n=1, lineterm=""))[2:]



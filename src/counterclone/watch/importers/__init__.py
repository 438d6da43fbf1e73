"""Other systems' logs as exchanges: a module for each, named as `--format` names it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from counterclone.errors import SourceError
from counterclone.journal.lines import MAX_LINE_BYTES, Translate
from counterclone.randomness import Prf
from counterclone.watch.importers import kserve, litellm, openai
from counterclone.watch.importers._records import Record

Format = Literal["auto", "lines", "litellm", "openai", "kserve"]
FORMATS: tuple[Format, ...] = get_args(Format)

_LOGS = {"litellm": litellm, "kserve": kserve, "openai": openai}
_LOOKED_AT = 100
"""Lines at the start of a file that may be bad before its format is given up."""


def translation(name: Format, names: Prf, path: Path) -> Translate | None:
    """What reads a log of this format; None for exchanges as JSON lines, and where nothing in a file tells.

    Args:
        name: the format.
        names: hashes API keys, where accounts go by them.
        path: the file, looked at for `auto`.

    Raises:
        SourceError: the file can't be read.
    """
    if name == "auto":
        name = _format_of(path)
    return None if name == "lines" else _LOGS[name].translation(names)


def _format_of(path: Path) -> Format:
    """The format of the first line that looks like one."""
    try:
        with path.open("rb") as file:
            for _ in range(_LOOKED_AT):
                record = _decoded(file.readline(MAX_LINE_BYTES))
                if record is not None and (found := _named(record)):
                    return found
    except OSError as error:
        raise SourceError(f"{path} can't be read ({error}); expected a file with one JSON object a "
                          "line") from error
    return "lines"


def _decoded(data: bytes) -> Record | None:
    try:
        record = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _named(record: Mapping[str, Any]) -> Format | None:
    if isinstance(record.get("query"), dict):
        return "lines"
    return next((name for name in FORMATS if name in _LOGS and _LOGS[name].is_one(record)), None)

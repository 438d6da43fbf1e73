"""The last results of verbs that take long, kept whole beside the configuration for whoever reports on them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from counterclone.errors import ConfigError
from counterclone.randomness import new_id

AUDIT_FILE = "counterclone.last-audit.json"
TUNE_FILE = "counterclone.last-tune.json"

T = TypeVar("T")


class Latest(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A result and where it belongs.

    Attributes:
        time: when it was found, seconds since 1970.
        surface: what callers saw, by its key (`audited.key_of`); "" where that isn't one surface.
        result: as the verb printed it.
    """

    time: float
    surface: str = ""
    result: T


def save(path: Path, latest: Latest[Any]) -> None:
    """Write a result whole or not at all.

    Raises:
        ConfigError: the file can't be written.
    """
    partial = path.with_name(f"{path.name}.{new_id(4)}")
    try:
        partial.write_bytes(msgspec.json.encode(latest))
        os.replace(partial, path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; let the result be written there, which `counterclone "
                          "report` reads") from None


def load(path: Path, kind: type[T]) -> Latest[T] | None:
    """The last result, None where there is none.

    Args:
        path: the file.
        kind: of the result.

    Raises:
        ConfigError: the file can't be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Latest[kind])  # type: ignore[valid-type]
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}; expected what the verb wrote; run it again, or remove the "
                          "file") from None

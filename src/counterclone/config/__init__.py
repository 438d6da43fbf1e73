"""The TOML file as frozen structs: one table a verb, one array of tables a plug-in family.

An unknown key is an error that names the nearest one. All mistakes are reported together.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from counterclone.config.history import History, read_history, read_live
from counterclone.config.json_schema import schema
from counterclone.config.reading import PREFIX, parse
from counterclone.config.sections import (
    AccountClass,
    Accounts,
    Config,
    Guard,
    Journal,
    PluginTable,
    Target,
    Tier,
    Tune,
    Watch,
)
from counterclone.errors import ConfigError

__all__ = [
    "DEFAULT_FILE",
    "FILE_VARIABLE",
    "AccountClass",
    "Accounts",
    "Config",
    "Guard",
    "History",
    "Journal",
    "PluginTable",
    "Target",
    "Tier",
    "Tune",
    "Watch",
    "find",
    "load",
    "parse",
    "read_history",
    "read_live",
    "schema",
]

DEFAULT_FILE = "counterclone.toml"
FILE_VARIABLE = f"{PREFIX}CONFIG"


def find(path: str | None = None) -> Path:
    """The file: the one named, the one in COUNTERCLONE_CONFIG, or ./counterclone.toml."""
    return Path(path or os.environ.get(FILE_VARIABLE) or DEFAULT_FILE)


def load(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read, override from the environment, and check a file.

    Args:
        path: the file.
        environ: variables; `COUNTERCLONE_GUARD_ENFORCE=false` overrides `[guard] enforce`.

    Raises:
        ConfigError: it can't be read or has mistakes, one line for each.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; expected a configuration file; write one, or name it "
                          f"with --config or {FILE_VARIABLE}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: no TOML: {error}") from None
    return parse(table, os.environ if environ is None else environ, str(path))

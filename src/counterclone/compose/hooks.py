"""The file's green list to what a server's hook needs."""

from __future__ import annotations

from pathlib import Path

from counterclone import config as configuration
from counterclone import plugins
from counterclone.compose import mark_keys
from counterclone.compose.mark_keys import Change
from counterclone.errors import ConfigError, LedgerError
from counterclone.marks.greenlist import Greenlist
from counterclone.prove.custody import Custody, mark_key
from counterclone.serving import hook


def export(config_file: str | None, path: Path) -> Change:
    """Commit to the file's green list, where that isn't done, and write what a server's hook needs.

    Args:
        config_file: the file.
        path: of the hook's file; it has the key of this commitment alone.

    Raises:
        ConfigError: the file has mistakes, or no green list, or its files aren't those of its digest.
        LedgerError: there are no keys, the chain can't be written to, or the hook's file can't.
    """
    found = configuration.find(config_file)
    config = configuration.load(found)
    specs = [plugins.build("marks", table, "[[mark]]") for table in config.mark]
    mark = next((spec for spec in specs if isinstance(spec, Greenlist)), None)
    if mark is None:
        raise ConfigError("[[mark]]: the file has no mark for a server's hook; add a table with "
                          "kind = \"greenlist\"")
    mark.check_files()
    change = mark_keys.commit(config_file)
    epoch_key = Custody.load(found.parent / config.prove.keys).epoch_key(change.commitment.number)
    try:
        hook.save(path, mark, mark_key(epoch_key, plugins.kind_of(mark)))
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror or error}; a hook's file is a new one in a folder that is "
                          "there; name another") from None
    return change

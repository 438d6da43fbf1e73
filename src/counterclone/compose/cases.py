"""The cases of a configuration: found, decided on, and handed over with what was journalled."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterclone.config import Config
from counterclone.errors import ConfigError, SourceError
from counterclone.journal import SCHEMA, JournalFolder
from counterclone.watch.cases import CASES_FILE, Case, CaseFile, Decision


def case_file(folder: Path) -> CaseFile:
    """The cases of the configuration in a folder."""
    return CaseFile(folder / CASES_FILE)


def decide(config: Config, cases: CaseFile, name: str, decision: Decision, *, by: str) -> Case:
    """Decide what the accounts of a case get.

    Raises:
        ConfigError: nothing says how to throttle.
        SourceError: there is no such case, or the file can't be read or written.
    """
    if decision == "throttle" and all(tier.action != "throttle" for tier in config.guard.tier):
        raise ConfigError("no [[guard.tier]] has action = 'throttle', which says how much such an account may "
                          "ask; add one, or decide to block")
    return cases.decide(name, decision, by=by)


def export(config: Config, folder: Path, case: Case, path: Path) -> int:
    """Write a case and the journalled exchanges of its accounts into a ZIP file: `case.json`, `exchanges.parquet`.

    Args:
        config: names the journal.
        folder: the configuration's.
        case: what is exported.
        path: the file, which must not exist.

    Returns:
        The number of exchanges.

    Raises:
        SourceError: the file exists or can't be written, or the journal can't be read.
    """
    rows = _exchanges(folder / config.journal.path, case) if config.journal.path else SCHEMA.empty_table()
    content = BytesIO()
    pq.write_table(rows, content, compression="zstd")
    try:
        with path.open("xb") as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr("case.json", msgspec.json.format(msgspec.json.encode(case)))
            archive.writestr("exchanges.parquet", content.getvalue())
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}; name another file") from None
    return int(rows.num_rows)


def _exchanges(journal: Path, case: Case) -> pa.Table:
    """The rows of a case's accounts, in order of time; none where nothing was journalled yet."""
    if not journal.is_dir():
        return SCHEMA.empty_table()
    accounts = pa.array(case.accounts)
    found = [batch.filter(pc.is_in(batch.column("account"), accounts))
             for batch in JournalFolder(journal).batches()]
    return pa.Table.from_batches(found, SCHEMA)

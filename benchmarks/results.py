"""Tables and JSON of the benchmarks."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import NamedTuple

import orjson
from rich.console import Console
from rich.table import Table

FOLDER = Path(__file__).parent / "results"


class Result(NamedTuple):
    """One benchmark's rows; every row has the same keys."""

    name: str
    rows: list[dict[str, object]]


def show(result: Result) -> None:
    """Print the table and write `benchmarks/results/<name>.json`."""
    table = Table(title=result.name, title_justify="left")
    for head in result.rows[0]:
        table.add_column(head)
    for row in result.rows:
        table.add_row(*map(str, row.values()))
    Console(width=160).print(table)
    FOLDER.mkdir(exist_ok=True)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    content = {"name": result.name, "machine": machine, "rows": result.rows}
    (FOLDER / f"{result.name}.json").write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")

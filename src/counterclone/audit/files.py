"""Files of inputs: npy, csv, parquet and JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from counterclone.audit.data import Data, as_inputs
from counterclone.errors import SourceError
from counterclone.plugins import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa


def read(path: Path, label: str | None = None) -> Data:
    """The inputs of a file.

    Args:
        path: `.npy` holds an array of numbers or texts; `.csv` and `.parquet` a table of one text column or of
            numbers; `.jsonl` a row a line: a list of numbers, a text, an object with `features` or `text`, an
            exchange with these in its `query`, or an object of numbers by column.
        label: the column with the true labels, left out of the inputs; an `.npy` has none.

    Raises:
        SourceError: it can't be read, or has no such column.
        ConfigError: its inputs are neither numbers nor texts.
    """
    if path.suffix not in _READERS:
        raise SourceError(f"{path}: expected a file of the kind {', '.join(_READERS)}; save the inputs as one")
    import pyarrow as pa

    try:
        return _READERS[path.suffix](path, label)
    except pa.ArrowException as error:
        raise SourceError(f"{path}: {str(error).splitlines()[0]}; expected a table of numbers, or of one column "
                          "of text") from None
    except FileNotFoundError:
        raise SourceError(f"{path}: not found; name a file of inputs") from None
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}; name a file of inputs that can be read") from None


def _read_npy(path: Path, label: str | None) -> Data:
    try:
        return Data(as_inputs(np.load(path, allow_pickle=False), str(path)))
    except (ValueError, EOFError) as error:
        raise SourceError(f"{path}: no array of numbers or texts ({error}); save one with numpy.save") from None


def _read_csv(path: Path, label: str | None) -> Data:
    from pyarrow import csv

    table = csv.read_csv(path)
    if table.num_columns and all(map(_is_number, table.column_names)):  # the first line was no head
        table = csv.read_csv(path, read_options=csv.ReadOptions(autogenerate_column_names=True))
    return _of_table(table, path, label)


def _read_parquet(path: Path, label: str | None) -> Data:
    from pyarrow import parquet

    return _of_table(parquet.read_table(path), path, label)


def _read_lines(path: Path, label: str | None) -> Data:
    import pyarrow as pa

    inputs: list[Any] = []
    labels: list[Any] = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if line.isspace():
                continue
            try:
                row = msgspec.json.decode(line)
            except msgspec.DecodeError as error:
                raise SourceError(f"{path}: line {number}: {error}; expected a JSON value a line") from None
            if isinstance(row, dict):
                if label is not None:
                    labels.append(_popped(row, label, f"{path}: line {number}"))
                row = _unwrapped(row)
            inputs.append(row)
    if inputs and all(isinstance(row, dict) for row in inputs):
        inputs = list(_of_table(pa.Table.from_pylist(inputs), path, None).inputs)
    if labels and len(labels) != len(inputs):
        raise SourceError(f"{path}: some lines have no '{label}'; expected a label on each")
    return Data(as_inputs(inputs, str(path)), np.array(labels) if labels else None)


_READERS: dict[str, Callable[[Path, str | None], Data]] = {
    ".npy": _read_npy, ".csv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_lines}


def _of_table(table: pa.Table, path: Path, label: str | None) -> Data:
    import pyarrow as pa

    labels = None
    if label is not None:
        if label not in table.column_names:
            raise SourceError(f"{path}: there is no column '{label}'{did_you_mean(label, table.column_names)}; it "
                              f"has {', '.join(table.column_names[:20])}")
        labels = table.column(label).to_numpy()
        table = table.drop_columns([label])
    is_text = [pa.types.is_string(field.type) or pa.types.is_large_string(field.type) for field in table.schema]
    if is_text == [True]:
        return Data([str(value) for value in table.column(0).to_pylist()], labels)
    for name, text in zip(table.column_names, is_text, strict=True):
        if text:
            raise SourceError(f"{path}: column '{name}' holds text; expected numbers, encoded as the model's "
                              "callers encode them, or one column of text alone; name the labels' column with "
                              "--label")
    columns = [np.array(column.cast(pa.float64()).to_numpy(), dtype=np.float64) for column in table.columns]
    return Data(as_inputs(np.column_stack(columns) if columns else np.empty((0, 0)), str(path)), labels)


def _popped(row: dict[str, Any], label: str, where: str) -> Any:
    if label not in row:
        raise SourceError(f"{where}: there is no '{label}'{did_you_mean(label, list(row))}; expected a label on "
                          "each line")
    return row.pop(label)


def _unwrapped(row: Mapping[str, Any]) -> Any:
    inner = row["query"] if isinstance(row.get("query"), dict) else row
    for key in ("features", "text"):
        if key in inner:
            return inner[key]
    return row


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from counterclone.audit.data import Data
from counterclone.audit.files import read
from counterclone.errors import ConfigError, CountercloneError, SourceError

ROWS = [[0.5, 2.0], [1.0, -3.25]]


def numbers(data: Data) -> Any:
    assert isinstance(data.inputs, np.ndarray)
    return data.inputs.tolist()


def labels(data: Data) -> Any:
    return None if data.labels is None else data.labels.tolist()


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    return path


def test_arrays_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS)
    assert numbers(read(tmp_path / "x.npy")) == ROWS
    np.save(tmp_path / "t.npy", np.array(["one", "two"]))
    assert read(tmp_path / "t.npy", "ignored").inputs == ["one", "two"]


def test_tables_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,digit,b\n0.5,7,2\n1,8,-3.25\n")
    data = read(path, "digit")
    assert (numbers(data), labels(data)) == (ROWS, [7, 8])
    assert numbers(read(path)) == [[0.5, 7.0, 2.0], [1.0, 8.0, -3.25]]
    table = pa.table({"a": [0.5, 1.0], "kind": ["cat", "dog"], "b": pa.array([2, None])})
    parquet.write_table(table, tmp_path / "x.parquet")
    data = read(tmp_path / "x.parquet", "kind")
    assert labels(data) == ["cat", "dog"]
    assert np.isnan(numbers(data)[1][1])


def test_a_table_without_a_head_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("0.5,2\n1,-3.25\n")
    assert numbers(read(path)) == ROWS
    assert labels(read(path, "f1")) == [2.0, -3.25]


def test_a_column_of_text_is_texts(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('comment,label\n"one, two",0\n"é ""x""",1\n', encoding="utf-8")
    data = read(path, "label")
    assert (data.inputs, labels(data)) == (["one, two", 'é "x"'], [0, 1])


@pytest.mark.parametrize("row", [
    lambda row, label: row, lambda row, label: {"features": row, "label": label},
    lambda row, label: {"query": {"features": row}, "label": label, "account": "a"},
    lambda row, label: {"b": row[0], "a": row[1], "label": label},
], ids=["lists", "features", "exchanges", "columns"])
def test_lines_of_numbers_are_read(tmp_path: Path, row: Any) -> None:
    path = lines(tmp_path / "x.jsonl", *(row(values, i) for i, values in enumerate(ROWS)))
    is_list = row(ROWS[0], 0) is ROWS[0]
    data = read(path, None if is_list else "label")
    assert (numbers(data), labels(data)) == (ROWS, None if is_list else [0, 1])


@pytest.mark.parametrize("row", [lambda text: text, lambda text: {"text": text},
                                 lambda text: {"query": {"text": text}}], ids=["texts", "objects", "exchanges"])
def test_lines_of_text_are_read(tmp_path: Path, row: Any) -> None:
    assert read(lines(tmp_path / "x.jsonl", row("one"), row("twö"))).inputs == ["one", "twö"]


@pytest.mark.parametrize(("name", "content", "label", "message"), [
    ("x.txt", "1", None, r"expected a file of the kind \.npy, \.csv, \.parquet, \.jsonl"),
    ("x.npy", "1,2", None, "no array of numbers or texts"),
    ("x.npy", "", None, "no array of numbers or texts"),
    ("x.csv", "", None, "Empty CSV file"),
    ("x.csv", "a,b\n1\n", None, "expected a table of numbers"),
    ("x.csv", "a,b\n1,2\n", "c", "there is no column 'c'; it has a, b"),
    ("x.csv", "a,digit\n1,2\n", "digits", r"there is no column 'digits' \(did you mean 'digit'\?\)"),
    ("x.csv", "a,colour\n1,red\n2,blue\n", None, "column 'colour' holds text; expected numbers"),
    ("x.csv", "a,b\n", None, r"has shape \(0, 2\)"),
    ("x.parquet", "1,2", None, "expected a table"),
    ("x.jsonl", "[1, 2]\nnonsense\n", None, "line 2: JSON is malformed"),
    ("x.jsonl", '{"features": [1], "label": 1}\n{"features": [1]}\n', "label", "line 2: there is no 'label'"),
    ("x.jsonl", '[1, 2]\n{"features": [1, 2], "label": 1}\n', "label", "some lines have no 'label'"),
    ("x.jsonl", '[1, 2]\n[1]\n', None, "its rows differ in length"),
    ("x.jsonl", '{"a": 1}\n{"a": "x"}\n', None, "expected a table of numbers"),
    ("x.jsonl", "", None, r"has shape \(0,\)"),
], ids=lambda value: None if isinstance(value, str) and len(value) > 20 else str(value))
def test_a_file_with_mistakes_is_told(tmp_path: Path, name: str, content: str, label: str | None,
                                      message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises((SourceError, ConfigError), match=message) as caught:
        read(path, label)
    assert str(caught.value).startswith(str(path))


def test_no_pickle_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(SourceError, match="no array of numbers or texts"):
        read(path)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    for suffix in (".npy", ".csv", ".parquet", ".jsonl"):
        with pytest.raises(CountercloneError, match="not found; name a file of inputs"):
            read(tmp_path / f"missing{suffix}")


def test_a_nested_column_is_told(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"a": [[1, 2], [3, 4]]}), tmp_path / "x.parquet")
    with pytest.raises(SourceError, match="expected a table of numbers"):
        read(tmp_path / "x.parquet")

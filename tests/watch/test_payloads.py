from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from counterclone.errors import SourceError
from counterclone.journal import Exchange, JournalWriter
from counterclone.watch.payloads import MOST_OTHERS, split

ROWS = [[0.9, 0.1], [0.2, 0.8]]


def line(account: str, features: list[float], scores: list[float] | None) -> bytes:
    answer = None if scores is None else {"scores": scores}
    return orjson.dumps({"time": 1.0, "account": account, "query": {"features": features}, "answer": answer})


def test_lines_are_split_by_account(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"\n".join([
        line("a", [1.0, 2.0], ROWS[0]), line("b", [3.0, 4.0], ROWS[1]), line("c", [5.0, 6.0], ROWS[1]),
        line("a", [7.0, 8.0], None), line("a", [9.0], ROWS[0])]))
    asked, others = split(path, {"a"})
    assert np.asarray(asked.inputs).tolist() == [[1.0, 2.0]]
    assert asked.rows.tolist() == [ROWS[0]]
    assert sorted(np.asarray(others.inputs).tolist()) == [[3.0, 4.0], [5.0, 6.0]]


def test_a_journal_with_payloads_is_split(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    writer = JournalWriter(folder, "w0")
    payloads = [orjson.dumps({"query": {"text": "hello"}, "answer": {"scores": ROWS[0]}}), b"not JSON",
                orjson.dumps({"query": {"text": "world"}, "answer": None})]
    for account in ("0" * 16, "1" * 16):
        writer.append(Exchange(
            time=1.0, account=account, account_class="", dialect="predict", model="", decision="served",
            status=200, digests=[1, 2, 3], labels=[0, 0, 0], margins=[0.8] * 3, n_classes=2, bits=1.0,
            texts=["hello", "?", "world"], payloads=payloads))
    writer.close()
    asked, others = split(folder, {"0" * 16})
    assert asked.inputs == others.inputs == ["hello"]
    assert asked.rows.tolist() == [ROWS[0]]


def test_others_are_sampled_evenly(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"\n".join(line("b", [float(number), 0.0], ROWS[0]) for number in range(4 * MOST_OTHERS)))
    numbers = np.asarray(split(path, {"a"}).others.inputs)[:, 0]
    assert len(numbers) == len(set(numbers)) == MOST_OTHERS
    assert numbers.mean() == pytest.approx(2 * MOST_OTHERS, rel=0.1)


def test_a_source_without_payloads_says_so(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(line("a", [1.0], None))
    with pytest.raises(SourceError, match="payloads = true"):
        split(path, {"a"})

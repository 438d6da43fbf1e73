from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.errors import SourceError
from counterclone.journal import Line, Lines, read_lines
from counterclone.journal.lines import MAX_LINE_BYTES, MAX_MESSAGES

GOOD: dict[str, Any] = {
    "time": 1764000000.0, "account": "a7", "query": {"features": [0.1, 2]}, "answer": {"scores": [0.9, 0.1]},
    "meta": {"ip": "10.0.0.7", "payment": "p1", "asn": 64500, "score": 0.5, "new": True, "none": None}}


def read(*lines: bytes | dict[str, Any]) -> tuple[list[Line], Lines]:
    data = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    source = read_lines(io.BytesIO(data))
    return list(source), source


def test_a_line_of_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "exchanges.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps({**GOOD, "time": 5}) + "\n\n")
    lines = read_lines(str(path))
    first, second = lines
    assert (first.time, first.account, first.n_rows) == (1764000000.0, "a7", 1)
    assert first.query.features is not None
    assert first.query.features.tolist() == [[0.1, 2.0]]
    assert first.answer is not None
    assert first.answer.scores is not None
    assert first.answer.scores.tolist() == [[0.9, 0.1]]
    assert first.meta == GOOD["meta"]
    assert second.time == 5.0
    assert (lines.n_lines, lines.n_skipped, lines.skipped) == (2, 0, [])


def test_many_rows_in_a_line() -> None:
    (line,), _ = read({**GOOD, "query": {"features": [[1, 2], [3, 4], [5, 6]]},
                       "answer": {"scores": [[1, 0], [0, 1], [1, 0]], "label": [0, "cat", 0],
                                  "vector": [[1], [2], [3]]}})
    assert line.n_rows == 3
    assert line.answer is not None
    assert line.answer.labels == [0, "cat", 0]
    assert line.answer.vectors is not None
    assert line.answer.vectors.shape == (3, 1)


@pytest.mark.parametrize(("query", "answer"), [
    ({"text": "What is this?"}, {"text": "A test."}),
    ({"text": ""}, {"label": "spam"}),
    ({"messages": [{"role": "user", "content": "hi"}]}, {"text": "hello"}),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}, {"text": ""}),
    ({"text": "embed me"}, {"vector": [0.1, 0.2, 0.3]}),
    ({"features": [1]}, {"label": 3}),
])
def test_every_kind_of_query_and_answer(query: dict[str, Any], answer: dict[str, Any]) -> None:
    lines, source = read({**GOOD, "query": query, "answer": answer})
    assert source.skipped == []
    assert lines[0].n_rows == 1
    assert lines[0].query.text == query.get("text")
    assert lines[0].query.messages == query.get("messages")


def test_answer_and_meta_may_be_absent_and_other_fields_are_ignored() -> None:
    lines, source = read({"time": 1, "account": "", "query": {"features": [1], "n": 2}, "id": 7},
                         {**GOOD, "answer": None})
    assert source.skipped == []
    assert [(line.answer, line.meta) for line in lines] == [(None, {}), (None, GOOD["meta"])]


BAD: list[tuple[bytes | dict[str, Any], str]] = [
    (b"not json", "malformed"),
    (b"[1, 2]", "object"),
    (b"null", "object"),
    (b'{"time": 1', "truncated"),
    (b"\xff\xfe{}", ""),
    (json.dumps(GOOD).encode().replace(b"a7", b"a\xff"), ""),
    (json.dumps(GOOD).replace("0.1", "NaN").encode(), "malformed"),
    (json.dumps(GOOD).replace("0.1", "1e999").encode(), ""),
    (json.dumps(GOOD).replace("0.1", "1" * 400).encode(), ""),
    (json.dumps(GOOD).replace("0.1", "null").encode(), "float"),
    (json.dumps(GOOD).replace("0.1", "true").encode(), "float"),
    (b"[" * 100_000, ""),
    (b'{"time":1,"account":"a","query":{"messages":[{"a":' + b"[" * 100_000, ""),
    ({**GOOD, "time": "now"}, "$.time"),
    ({**GOOD, "time": -1}, "seconds since 1970"),
    ({**GOOD, "time": 1764000000000}, "seconds since 1970"),
    ({**GOOD, "account": 7}, "$.account"),
    ({key: value for key, value in GOOD.items() if key != "account"}, "account"),
    ({**GOOD, "query": {}}, "one of"),
    ({**GOOD, "query": {"features": [1], "text": "a"}}, "one of"),
    ({**GOOD, "query": {"features": []}}, "`features` is empty"),
    ({**GOOD, "query": {"features": [[]]}}, "`features` is empty"),
    ({**GOOD, "query": {"features": [[1, 2], [3]]}}, "differ in length"),
    ({**GOOD, "query": {"features": [1, [2]]}}, "differ in length"),
    ({**GOOD, "query": {"features": [[1], 2]}}, "differ in length"),
    ({**GOOD, "query": {"features": [[[1]]]}}, "$.query.features"),
    ({**GOOD, "query": {"features": "1,2"}}, "$.query.features"),
    ({**GOOD, "query": {"messages": []}}, "`messages` is empty"),
    ({**GOOD, "query": {"messages": ["hi"]}}, "$.query.messages"),
    ({**GOOD, "query": {"text": ["a", "b"]}}, "$.query.text"),
    ({**GOOD, "answer": {}}, "one of"),
    ({**GOOD, "answer": {"scores": [[0.5, 0.5]] * 2}}, "2 rows for the query's 1"),
    ({**GOOD, "answer": {"label": []}}, "0 rows for the query's 1"),
    ({**GOOD, "answer": {"label": 1.5}}, "$.answer.label"),
    ({**GOOD, "meta": {"ip": {"v4": "10.0.0.7"}}}, "$.meta"),
    ({**GOOD, "meta": []}, "$.meta"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=range(len(BAD)))
def test_a_bad_line_is_skipped_counted_and_named(bad: bytes | dict[str, Any], reason: str) -> None:
    lines, source = read(GOOD, bad, GOOD)
    assert len(lines) == 2
    assert (source.n_lines, source.n_skipped) == (3, 1)
    assert source.skipped[0].startswith("line 2: ")
    assert reason in source.skipped[0]


def test_numbers_count_empty_lines_too() -> None:
    lines, source = read(b"", GOOD, b"  ", b"bad", GOOD)
    assert (len(lines), source.n_lines) == (2, 3)
    assert source.skipped[0].startswith("line 4: ")


def test_every_bad_line_is_counted_and_the_first_hundred_are_described() -> None:
    lines, source = read(*[b"bad"] * 1000, GOOD)
    assert (len(lines), source.n_skipped, len(source.skipped)) == (1, 1000, MAX_MESSAGES)


def test_marks_and_windows_ends_are_no_fault() -> None:
    good = json.dumps(GOOD).encode()
    lines, source = read(b"\xef\xbb\xbf" + good + b"\r", good + b"\r")
    assert (len(lines), source.skipped) == (2, [])


def test_a_line_of_a_hundred_megabytes_is_skipped_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.jsonl"
    good = json.dumps(GOOD).encode() + b"\n"
    with path.open("wb") as file:
        file.write(good)
        file.seek(100 << 20, os.SEEK_CUR)  # sparse
        file.write(b"\n" + good)
        file.seek(MAX_LINE_BYTES + 1, os.SEEK_CUR)
        file.write(b"x")
    lines = read_lines(path)
    assert len(list(lines)) == 2
    assert lines.n_skipped == 2
    assert [reason.partition(":")[0] for reason in lines.skipped] == ["line 2", "line 4"]
    assert "longer than" in lines.skipped[0]


def test_a_line_of_just_the_largest_size_is_read() -> None:
    good = json.dumps(GOOD).encode()
    lines, _ = read(good + b" " * (MAX_LINE_BYTES - len(good)), GOOD)
    assert len(lines) == 2


def test_a_missing_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(SourceError, match=r"no exchanges at .*expected .*correct the path"):
            read_lines(path)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    path = Path("/proc/self/mem")
    with pytest.raises(SourceError, match="can't be read"):
        list(read_lines(path))


def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    thread = threading.Thread(target=lambda: path.write_text(json.dumps(GOOD)))
    thread.start()
    assert len(list(read_lines(path))) == 1
    thread.join()


@given(st.lists(st.binary(max_size=40) | st.sampled_from([json.dumps(GOOD).encode()]), max_size=8))
def test_no_bytes_stop_the_run(data: list[bytes]) -> None:
    source = read_lines(io.BytesIO(b"\n".join(data)))
    assert len(list(source)) + source.n_skipped == source.n_lines


def test_half_a_surrogate_pair_hides_nobody() -> None:
    lines, source = read(b'{"time": 1, "account": "a\\uD83D\\ude00", "query": {"text": "x\\ud800 \\\\ud800"}}')
    assert source.n_skipped == 0
    assert [(line.account, line.query.text) for line in lines] == [("a\U0001f600", "x? \\ud800")]

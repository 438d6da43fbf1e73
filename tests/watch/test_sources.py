from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterclone.encoders import encode_features, encode_texts
from counterclone.errors import SourceError
from counterclone.exchanges import NO_LABEL, Exchanges, join
from counterclone.journal import Exchange, JournalWriter, to_batch
from counterclone.randomness import Prf
from counterclone.watch import sources
from counterclone.watch.sources import BATCH_ROWS, Source, Tail, Traffic

KEY = Prf.from_secret("tests")
NOON = 1_764_158_400.0


def exchange(time: float = NOON, account: str = "a1", status: int = 200, n_rows: int = 2) -> Exchange:
    return Exchange(
        time=time, account=account, account_class="evaluators" if account == "e1" else "", dialect="oip",
        model="m", decision="served", status=status, digests=range(7, 7 + n_rows), labels=np.full(n_rows, 1),
        margins=np.full(n_rows, 0.5), n_classes=2, bits=8.0, features=np.full((n_rows, 3), 0.25))


def written(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def line(account: str = "a", time: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"time": time, "account": account, "query": {"features": [0.5, 2.0]}, **more}


def read(path: Path) -> Traffic:
    """Everything in a file, which fits one batch."""
    (found,) = sources.find(path, KEY).traffic()
    return found


def answered(tmp_path: Path, answer: Any) -> Exchanges:
    return read(written(tmp_path / "x.jsonl", line(answer=answer))).exchanges


# A journal

def test_a_batch_is_exchanges_as_it_was_journalled() -> None:
    batch = to_batch([exchange(), exchange(NOON + 1, "b2", n_rows=1), exchange(NOON + 2)])
    names, found = sources.from_batch(batch)
    assert [names[i] for i in found.accounts] == ["a1", "a1", "b2", "a1", "a1"]
    assert found.times.tolist() == [NOON, NOON, NOON + 1, NOON + 2, NOON + 2]
    assert (found.vectors == encode_features(np.full((5, 3), 0.25))).all()
    assert found.labels.tolist() == [1] * 5
    assert found.margins.tolist() == [0.5] * 5
    assert found.bits.tolist() == [8.0] * 5
    assert found.digests.tolist() == [7, 8, 7, 7, 8]
    assert np.isnan(found.gaps).all()


def test_what_was_not_answered_is_no_exchange() -> None:
    names, found = sources.from_batch(to_batch([
        exchange(status=429), exchange(NOON + 1, "b2"), exchange(status=502), exchange(account="", status=401)]))
    assert {names[i] for i in found.accounts} == {"b2"}
    assert len(found) == 2
    assert len(sources.from_batch(to_batch([exchange(status=429)]))[1]) == 0


def test_a_journal_is_read_in_the_order_of_time_with_classes(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path, "w")
    for time, account in [(NOON, "a1"), (NOON - 7200, "e1"), (NOON - 3600, "a1")]:
        journal.append(exchange(time, account))
    journal.flush()
    source = sources.find(tmp_path, KEY)
    parts = list(source.traffic())
    assert np.concatenate([part.exchanges.times for part in parts]).tolist() == sorted(
        [NOON, NOON - 7200, NOON - 3600] * 2)
    kinds = {name: kind for part in parts for name, kind in zip(part.names, part.kinds, strict=True)}
    assert kinds == {"a1": "", "e1": "evaluators"}
    assert source.problems == []
    journal.close()


def test_a_segment_that_was_cut_off_is_read_up_to_there_and_named(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path, "w")
    journal.append(exchange())
    journal.flush()
    segment, = tmp_path.glob("live/w/*.arrows")
    copy = tmp_path / "live" / "x" / segment.name
    copy.parent.mkdir()
    copy.write_bytes(segment.read_bytes() + segment.read_bytes()[-100:])
    journal.close()
    source = sources.find(tmp_path, KEY)
    assert sum(len(part.exchanges) for part in source.traffic()) == 4
    assert len(source.problems) == 1
    assert "100 bytes" in source.problems[0]


def follow(source: Source) -> Iterator[list[Traffic]]:
    """What has come each time that the source waits."""
    come: list[Traffic] = []
    for part in source.follow():
        if part is None:
            yield come
            come = []
        else:
            come.append(part)


def times(parts: list[Traffic]) -> list[float]:
    return [time for part in parts for time in part.exchanges.times.tolist()]


def test_a_journal_is_followed_over_its_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "POLL_SECONDS", 0.01)
    journal = JournalWriter(tmp_path, "w")
    journal.append(exchange(NOON, n_rows=1))
    journal.append(exchange(NOON, n_rows=1))
    journal.flush()
    following = follow(sources.find(tmp_path, KEY))
    assert times(next(following)) == [NOON, NOON]
    assert times(next(following)) == []
    journal.append(exchange(NOON + 1, n_rows=1))
    journal.flush()
    assert times(next(following)) == [NOON + 1]
    for after in (3, 2, 0):  # the last of equal rows came after the first two were read
        journal.append(exchange(NOON + after, n_rows=1))
    journal.close()
    assert not list(tmp_path.glob("live/w/*.arrows"))
    assert times(next(following)) == [NOON, NOON + 2, NOON + 3]
    assert times(next(following)) == []


# JSON lines

def test_lines_are_exchanges(tmp_path: Path) -> None:
    path = written(
        tmp_path / "x.jsonl", line("a", 5, answer={"scores": [0.25, 0.75]}, meta={"ip": "10.0.0.7"}),
        line("b", 6, answer={"label": 3}), "nonsense",
        line("a", 7, query={"features": [[1, 2, 3], [4, 5, 6]]}, answer={"scores": [[1, 0], [0.5, 0.5]]},
             meta={"asn": 7, "account_class": "team"}),
        line("c", 8, query={"text": "Hello  WORLD"}, answer={"text": "hé"}),
        line("c", 8, query={"messages": [{"role": "user", "content": "no"}, {"role": "assistant", "content": "x"},
                                         {"role": "user", "content": [{"type": "text", "text": "hello world"}]}]}))
    source = sources.find(path, KEY)
    (found,) = source.traffic()
    rows = found.exchanges
    assert [found.names[i] for i in rows.accounts] == ["a", "b", "a", "a", "c", "c"]
    assert rows.times.tolist() == [5, 6, 7, 7, 8, 8]
    assert (rows.vectors[:2] == encode_features(np.array([[0.5, 2.0]] * 2))).all()
    assert (rows.vectors[2:4] == encode_features(np.array([[1.0, 2, 3], [4, 5, 6]]))).all()
    assert (rows.vectors[4:] == encode_texts(["Hello  WORLD", "hello world"])).all()
    assert rows.labels.tolist() == [1, 3, 0, 0, NO_LABEL, NO_LABEL]
    assert rows.margins.tolist()[2:4] == [1.0, 0.0]
    assert np.isnan(rows.margins[[1, 4, 5]]).all()
    assert rows.bits.tolist() == [64.0, 8.0, 64.0, 64.0, 24.0, 0.0]
    assert rows.digests[0] == rows.digests[1] != rows.digests[2]
    assert rows.digests[4] == rows.digests[5]  # equal after canonicalisation
    assert found.kinds == ["team", "", ""]
    assert found.meta == [{"ip": "10.0.0.7", "asn": 7, "account_class": "team"}, {}, {}]
    assert source.n_skipped == 1
    assert source.problems == [f"{path}: line 3: JSON is malformed: invalid character (byte 4)"]


@pytest.mark.parametrize(("scores", "label", "margin"), [
    ([0.2, 0.7, 0.1], 1, 0.5),
    ([0.0, 0.7, 0.2], 1, 0.5 / 0.9),
    ([0.25], 0, 0.5),
    ([0.75], 1, 0.5),
    ([0.0, math.log(3)], 1, 0.5),
    ([-800.0, 800.0], 1, 1.0),
    ([17.0], NO_LABEL, None),
], ids=["probabilities", "cut off", "negative", "positive", "logits", "far logits", "a regression"])
def test_scores_have_a_label_and_a_margin(tmp_path: Path, scores: list[float], label: int,
                                          margin: float | None) -> None:
    rows = answered(tmp_path, {"scores": scores})
    assert rows.labels.tolist() == [label]
    assert np.isnan(rows.margins[0]) if margin is None else rows.margins[0] == pytest.approx(margin)


def test_names_of_labels_are_told_apart_and_never_taken_for_none(tmp_path: Path) -> None:
    labels = [answered(tmp_path, {"label": label}).labels[0] for label in ("cat", "dog", "cat", -1, 2**40, 0, 1)]
    assert labels[0] == labels[2]
    assert len(set(labels)) == 6
    assert min(labels) == 0


def test_nothing_in_a_meta_stops_it(tmp_path: Path) -> None:
    hostile = {"ip": "x" * 100_000, "payment": "\ud800", "account_class": 7, "user_agent": None, "asn": True}
    found = read(written(tmp_path / "x.jsonl", line(meta=hostile), line(meta={"ip": {"nested": 1}})))
    assert found.kinds == ["7"]
    links = sources.known_links(found.meta[0])
    assert len(links.pop("ip")) == 64
    assert links == {"payment": "?", "asn": "True"}


def test_many_lines_are_read_in_parts(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", *(line(f"a{i % 3}", i) for i in range(BATCH_ROWS + 10)))
    parts = list(sources.find(path, KEY).traffic())
    assert [len(part.exchanges) for part in parts] == [BATCH_ROWS, 10]
    whole = join([part.exchanges for part in parts])
    assert len(set(whole.digests.tolist())) == 1


def test_digests_are_keyed(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", line())
    (other,) = sources.find(path, Prf.from_secret("another")).traffic()
    assert read(path).exchanges.digests[0] != other.exchanges.digests[0]


def test_a_file_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "POLL_SECONDS", 0.01)
    path = written(tmp_path / "x.jsonl", line("a", 1), "bad")
    source = sources.find(path, KEY)
    following = follow(source)
    assert times(next(following)) == [1.0]
    with path.open("a") as file:
        file.write(json.dumps(line("a", 2))[:20])
        file.flush()
        assert times(next(following)) == []
        file.write(json.dumps(line("a", 2))[20:] + "\nbad\n")
    assert times(next(following)) == [2.0]
    assert [problem.rpartition(": line ")[2][0] for problem in source.problems] == ["2", "4"]
    path.rename(tmp_path / "x.jsonl.1")
    assert times(next(following)) == []
    written(path, line("b", 3))
    assert times(next(following)) == [3.0]


def test_a_line_longer_than_a_part_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1" * 50 + b"\n22\n3")
    tail = Tail(path)
    assert [tail.read(10), tail.read(10), tail.read(10)] == [b"1" * 50 + b"\n", b"22\n", b""]


def test_a_source_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not found; expected a journal folder or a file of exchanges"):
        sources.find(tmp_path / "missing", KEY)

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterclone.errors import SourceError
from counterclone.journal import SCHEMA, Exchange, JournalFolder, JournalWriter, to_batch, vectors
from counterclone.journal import folder as module
from counterclone.journal.archive import archived_files, recover
from counterclone.journal.segments import live_files

MakeExchange = Callable[..., Exchange]
Digests = Callable[[Path], list[int]]
NOON = 1_764_158_400.0


def digests(folder: JournalFolder) -> list[int]:
    return [digest for batch in folder.batches() for digest in batch.column("digest").to_pylist()]


@pytest.fixture
def journal(tmp_path: Path, make_exchange: MakeExchange) -> JournalFolder:
    """Digests 0 to 2 in archived files of three hours."""
    for digest in range(3):
        writer = JournalWriter(tmp_path / "journal", f"w{digest}")
        writer.append(make_exchange(digest, time=NOON + 3600 * digest, payload=b"{}"))
        writer.close()
    return JournalFolder(tmp_path / "journal")


@pytest.fixture
def live(journal: JournalFolder, make_exchange: MakeExchange) -> JournalFolder:
    """The same with 3 and 4 in a live segment without a writer."""
    writer = JournalWriter(journal.path, "w")
    writer.append(make_exchange(3, time=NOON + 3600 * 3))
    writer.append(make_exchange(4, time=NOON + 3600 * 3 + 1))
    writer.flush()
    (path, name), = live_files(journal.path)
    data = path.read_bytes()
    writer.close()
    name.archive_path(journal.path).unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return journal


def test_a_missing_folder_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no journal at .*none.*expected a folder.*correct the path"):
        JournalFolder(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="no journal"):
        JournalFolder(tmp_path / "file")


def test_an_empty_folder_has_no_rows_and_every_column(tmp_path: Path) -> None:
    folder = JournalFolder(str(tmp_path))
    with folder.connect() as connection:
        rows = connection.execute("SELECT * FROM exchanges")
        assert [column[0] for column in rows.description] == SCHEMA.names
        assert rows.fetchall() == []
    assert list(folder.batches()) == []
    assert folder.problems == []


def test_archived_and_live_rows_are_one_table(live: JournalFolder, digests_in: Digests) -> None:
    assert digests_in(live.path) == [0, 1, 2, 3, 4]
    with live.connect() as connection:
        types = dict(connection.execute("SELECT column_name, column_type FROM (DESCRIBE exchanges)").fetchall())
    assert types["time"] == "TIMESTAMP WITH TIME ZONE"
    assert types["digest"] == "UBIGINT"
    assert types["vector"] == types["payload"] == "BLOB"
    assert types["margin"] == "FLOAT"


def test_times_are_utc_whatever_the_machine_says(live: JournalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    with live.connect() as connection:
        assert connection.execute("SELECT hour(time) FROM exchanges ORDER BY time").fetchall() == [
            (12,), (13,), (14,), (15,), (15,)]


def test_vectors_read_back(live: JournalFolder) -> None:
    with live.connect() as connection:
        blob, = connection.execute("SELECT vector FROM exchanges LIMIT 1").fetchall()[0]
        table = connection.sql("SELECT vector FROM exchanges").to_arrow_table()
        assert (vectors(table)[:, :3] == 0.25).all()
    assert np.frombuffer(blob, dtype="<f2").tolist() == [0.25] * 3 + [0.0] * 61
    for batch in live.batches():
        assert batch.schema.equals(SCHEMA, check_metadata=True)
        assert (vectors(batch)[:, :3] == 0.25).all()


def test_the_connection_reads_the_journal_and_nothing_else(live: JournalFolder, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with live.connect() as connection:
        for statement in (f"SELECT * FROM read_csv('{tmp_path}/secret.csv')", f"COPY (SELECT 1) TO '{tmp_path}/x'",
                          f"SELECT * FROM read_csv('{live.path}/../secret.csv')", "INSTALL httpfs",
                          "SET enable_external_access=true", "SELECT * FROM read_text('/etc/passwd')"):
            with pytest.raises(duckdb.Error):
                connection.execute(statement)
        assert connection.execute("SELECT count(*) FROM exchanges").fetchone() == (5,)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["it's", "a [1] *", "sp ace", "ünï", "%24$HOME", 'q"uote', "semi;colon"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str, make_exchange: MakeExchange,
                                    digests_in: Digests) -> None:
    writer = JournalWriter(tmp_path / name, "w")
    writer.append(make_exchange(1))
    writer.close()
    assert digests_in(tmp_path / name) == [1]


def test_a_relative_path_works(journal: JournalFolder, monkeypatch: pytest.MonkeyPatch,
                               digests_in: Digests) -> None:
    monkeypatch.chdir(journal.path.parent)
    assert digests_in(Path(journal.path.name)) == [0, 1, 2]


def test_a_damaged_tail_is_left_out_and_named(live: JournalFolder) -> None:
    (path, _), = live_files(live.path)
    os.truncate(path, path.stat().st_size - 3)
    assert digests(live) == [0, 1, 2]
    assert len(live.problems) == 1
    assert str(path) in live.problems[0]
    assert "aren't a whole batch" in live.problems[0]
    with live.connect() as connection:
        assert connection.execute("SELECT count(*) FROM exchanges").fetchone() == (3,)
    assert len(live.problems) == 1


def test_a_batch_on_its_way_is_no_problem(live: JournalFolder, make_exchange: MakeExchange) -> None:
    writer = JournalWriter(live.path, "busy")
    writer.append(make_exchange(9, time=NOON + 9e4))
    writer.flush()
    path = next(path for path, name in live_files(live.path) if name.worker == "busy")
    with path.open("ab") as file:
        file.write(b"\xff\xff\xff\xff\x10")
    assert 9 in digests(live)
    assert live.problems == []
    writer.close()


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def garbage(path: Path) -> None:
    path.write_bytes(b"PAR1" + os.urandom(1000) + b"\x40\x00\x00\x00PAR1")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_columns(path: Path) -> None:
    pq.write_table(pa.table({"time": [1], "account": ["a"]}), path)


def other_type(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    pq.write_table(table.set_column(0, "time", pa.array([1])), path)


def newer(path: Path) -> None:
    table = pq.ParquetFile(path).read()
    pq.write_table(table.replace_schema_metadata({"counterclone.journal": "2"}), path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILERS = [zeros, garbage, cut, empty, other_columns, other_type, newer, folder]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_hostile_archived_file_is_left_out_and_named(journal: JournalFolder,
                                                       spoil: Callable[[Path], None]) -> None:
    path = archived_files(journal.path)[1]
    spoil(path)
    assert digests(journal) == [0, 2]
    assert len(journal.problems) == 1
    assert journal.problems[0].startswith(f"{path}: ")
    with journal.connect() as connection:
        assert connection.execute("SELECT digest FROM exchanges ORDER BY time").fetchall() == [(0,), (2,)]
    assert len(journal.problems) == 1


def test_a_flipped_bit_never_gives_other_rows(journal: JournalFolder) -> None:
    path = archived_files(journal.path)[1]
    whole = [row for batch in journal.batches() for row in batch.to_pylist()]
    data = bytearray(path.read_bytes())
    footer = 8 + int.from_bytes(data[-8:-4], "little")
    n_left_out = 0
    for place in range(4, len(data) - footer, 7):
        data[place] ^= 4
        path.write_bytes(data)
        rows = [row for batch in journal.batches() for row in batch.to_pylist()]
        n_left_out += len(journal.problems)
        assert rows == (whole[::2] if journal.problems else whole)
        data[place] ^= 4
    assert n_left_out > 20


@pytest.mark.parametrize("data", [b"", b"x", b"ARROW1\0\0" * 40, bytes(5000), os.urandom(5000),
                                  pa.schema([("a", pa.int8())]).serialize().to_pybytes()])
def test_a_hostile_live_file_is_left_out(live: JournalFolder, data: bytes) -> None:
    (path, _), = live_files(live.path)
    path.write_bytes(data)
    assert digests(live) == [0, 1, 2]
    assert len(live.problems) == (1 if data else 0)


def test_a_live_batch_without_values_is_left_out(live: JournalFolder, make_exchange: MakeExchange) -> None:
    (path, _), = live_files(live.path)
    columns = to_batch([make_exchange(5)]).columns
    columns[1] = pa.nulls(1, pa.string())
    with path.open("ab") as file:
        file.write(pa.RecordBatch.from_arrays(columns, schema=SCHEMA).serialize())
    assert digests(live) == [0, 1, 2, 3, 4]
    assert "aren't a whole batch" in live.problems[0]


def test_rows_come_by_time_across_workers(tmp_path: Path, make_exchange: MakeExchange) -> None:
    for worker in range(3):
        writer = JournalWriter(tmp_path, f"w{worker}")
        for i in range(50):
            second = 3 * i + worker
            writer.append(make_exchange(second, time=NOON + 200 * second))
        writer.flush() if worker == 2 else writer.close()
    assert digests(JournalFolder(tmp_path)) == list(range(150))
    writer.close()
    assert digests(JournalFolder(tmp_path)) == list(range(150))


def test_a_segment_archived_during_a_reading_is_in_it_once(live: JournalFolder,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    def archiving(listed: list[Path]) -> list[Path]:
        assert recover(live.path).rows == 2
        return listed

    monkeypatch.setattr(module, "archived_files", lambda folder: archiving(archived_files(folder)))
    assert digests(live) == [0, 1, 2, 3, 4]
    monkeypatch.undo()
    assert digests(live) == [0, 1, 2, 3, 4]


def test_a_segment_archived_before_the_listing_is_read_once(live: JournalFolder,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    def listing(folder: Path) -> list[Path]:
        recover(folder)
        return archived_files(folder)

    monkeypatch.setattr(module, "archived_files", listing)
    assert digests(live) == [0, 1, 2, 3, 4]
    assert live.problems == []


def test_folders_may_go_while_they_are_listed(live: JournalFolder) -> None:
    listing = live_files(live.path)
    (path, _), = listing
    assert list(live_files(live.path / "none")) == []
    path.unlink()
    path.parent.rmdir()
    assert digests(live) == [0, 1, 2]
    assert live.problems == []


def test_files_that_others_sorted_otherwise_still_come_by_time(journal: JournalFolder,
                                                               make_exchange: MakeExchange) -> None:
    path = archived_files(journal.path)[1]
    rows = [make_exchange(digest, time=NOON + digest) for digest in (30, 10, 20)]
    pq.write_table(pa.Table.from_batches([to_batch(rows)]), path, write_statistics=False)
    assert digests(journal) == [0, 10, 20, 30, 2]

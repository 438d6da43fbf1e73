from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterclone.journal import SCHEMA, Exchange, JournalFolder, to_batch
from counterclone.journal.archive import Recovery, archive, archived_files, recover, retain
from counterclone.journal.segments import HEADER, LiveSegment, SegmentName

MakeExchange = Callable[..., Exchange]
Disk = tuple[Path, Callable[[], None], Callable[[], None]]
Digests = Callable[[Path], list[int]]
HOUR_START = 1_764_158_400  # 2025-11-26T12:00:00Z
DAY = 86_400


@pytest.fixture
def write(tmp_path: Path, make_exchange: MakeExchange) -> Callable[..., LiveSegment]:
    def write(*digests: int, worker: str = "w", hour: int = HOUR_START) -> LiveSegment:
        """An open segment with one batch for each digest, a second apart."""
        segment = LiveSegment(tmp_path, SegmentName.new(worker, hour, hour), hour)
        for digest in digests:
            segment.write([to_batch([make_exchange(digest, time=hour + digest)])])
        return segment

    return write


Write = Callable[..., LiveSegment]


def test_a_segment_becomes_one_file_of_its_hour(tmp_path: Path, write: Write, digests_in: Digests) -> None:
    segment = write(3, 1, 2)
    assert archive(tmp_path, segment.name) == Recovery(1, 3, 0)
    segment.close()
    path, = archived_files(tmp_path)
    assert path == tmp_path / "date=2025-11-26/hour=12" / f"w-{segment.name.sequence}.parquet"
    assert not segment.name.live_path(tmp_path).exists()
    table = pq.ParquetFile(path).read()
    assert table.schema.equals(SCHEMA, check_metadata=True)
    assert table.column("digest").to_pylist() == [1, 2, 3]
    assert digests_in(tmp_path) == [1, 2, 3]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(("held", "left"), [(frozenset(), 0), ({"0123456789abcdef"}, 3), ({"other"}, 0)],
                         ids=["nobody", "the account", "another"])
@pytest.mark.parametrize("how", [{"days": 1, "n_bytes": 0}, {"days": 0, "n_bytes": 1}], ids=["age", "size"])
def test_files_of_held_accounts_stay(tmp_path: Path, write: Write, held: frozenset[str], left: int,
                                     how: dict[str, int]) -> None:
    for hour in range(3):
        segment = write(1, hour=HOUR_START + 3600 * hour)
        archive(tmp_path, segment.name)
        segment.close()
    retain(tmp_path, HOUR_START + 10 * DAY, **how, held=held)
    assert len(archived_files(tmp_path)) == left


def test_as_long_as_nobody_knows_what_is_in_a_file_it_stays(tmp_path: Path, write: Write) -> None:
    segment = write(1)
    archive(tmp_path, segment.name)
    segment.close()
    path, = archived_files(tmp_path)
    path.write_bytes(b"no Parquet")
    with pytest.raises(OSError, match="isn't removed as long as cases hold accounts"):
        retain(tmp_path, HOUR_START + 10 * DAY, days=1, n_bytes=0, held={"ann"})
    assert archived_files(tmp_path) == [path]


def test_a_crash_between_rename_and_removal_counts_nothing_twice(tmp_path: Path, write: Write,
                                                                digests_in: Digests) -> None:
    segment = write(1, 2)
    live = segment.name.live_path(tmp_path)
    data = live.read_bytes()
    archive(tmp_path, segment.name)
    segment.close()
    live.parent.mkdir(exist_ok=True, parents=True)
    live.write_bytes(data)
    assert digests_in(tmp_path) == [1, 2]
    assert recover(tmp_path).rows == 0
    assert not live.exists()
    assert digests_in(tmp_path) == [1, 2]


def test_a_crash_before_the_rename_is_repeated(tmp_path: Path, write: Write, digests_in: Digests) -> None:
    segment = write(1, 2)
    segment.close()
    target = segment.name.archive_path(tmp_path)
    target.parent.mkdir(parents=True)
    target.with_name(f".{target.name}.tmp").write_bytes(b"half a file")
    assert digests_in(tmp_path) == [1, 2]
    assert recover(tmp_path) == Recovery(1, 2, 0)
    assert digests_in(tmp_path) == [1, 2]
    assert [file.name for file in target.parent.iterdir()] == [target.name]


def test_orphans_are_taken_over_up_to_the_last_whole_batch(tmp_path: Path, write: Write,
                                                          digests_in: Digests) -> None:
    held, orphan, empty, torn = write(1), write(2, 3), write(), write()
    for segment in (orphan, empty, torn):
        segment.close()
    path = orphan.name.live_path(tmp_path)
    os.truncate(path, path.stat().st_size - 1)
    os.truncate(torn.name.live_path(tmp_path), 10)
    size_of_a_batch = held.n_bytes - len(HEADER)
    assert recover(tmp_path) == Recovery(3, 1, size_of_a_batch - 1 + 10)
    assert held.name.live_path(tmp_path).exists()
    assert digests_in(tmp_path) == [1, 2]
    held.close()
    assert recover(tmp_path) == Recovery(1, 1, 0)
    assert not (tmp_path / "live/w").exists()
    assert digests_in(tmp_path) == [1, 2]
    assert recover(tmp_path) == Recovery()


def test_what_is_not_a_segment_is_left_alone(tmp_path: Path, write: Write,
                                             caplog: pytest.LogCaptureFixture) -> None:
    segment = write()
    segment.close()
    path = segment.name.live_path(tmp_path)
    newer = SCHEMA.with_metadata({b"counterclone.journal": b"9"}).serialize().to_pybytes()
    for data in (b"garbage" * 99, newer):
        path.write_bytes(data)
        assert recover(tmp_path) == Recovery()
        assert path.read_bytes() == data
    assert "format is 9" in caplog.text
    (path.parent / "notes.arrows").write_text("mine")
    assert recover(tmp_path) == Recovery()


def test_a_missing_journal_has_no_orphans(tmp_path: Path) -> None:
    assert recover(tmp_path / "none") == Recovery()
    assert retain(tmp_path / "none", 0.0, days=1, n_bytes=1) == 0


def test_a_full_disk_leaves_the_live_segment(small_disk: Disk, make_exchange: MakeExchange,
                                             digests_in: Digests) -> None:
    folder, fill, free = small_disk
    segment = LiveSegment(folder, SegmentName.new("w", HOUR_START, HOUR_START), HOUR_START)
    segment.write([to_batch([make_exchange(1, payload=os.urandom(300_000))])])
    fill()
    with pytest.raises(OSError, match=r"No space|too large"):
        archive(folder, segment.name)
    free()
    assert archived_files(folder) == []
    assert list(segment.name.archive_path(folder).parent.iterdir()) == []
    assert digests_in(folder) == [1]
    assert archive(folder, segment.name) == Recovery(1, 1, 0)
    segment.close()
    assert digests_in(folder) == [1]


@pytest.fixture
def week(tmp_path: Path, write: Write) -> list[Path]:
    """One archived file a day, with the digests 0 to 6."""
    for digest in range(7):
        segment = write(digest, hour=HOUR_START + digest * DAY)
        archive(tmp_path, segment.name)
        segment.close()
    return archived_files(tmp_path)


def test_old_files_go_by_days(tmp_path: Path, week: list[Path], digests_in: Digests) -> None:
    end_of_first = HOUR_START + 3600
    assert retain(tmp_path, end_of_first + 2 * DAY, days=2, n_bytes=0) == 0
    assert retain(tmp_path, end_of_first + 2 * DAY + 1, days=2, n_bytes=0) == 1
    assert retain(tmp_path, end_of_first + 5 * DAY, days=1.5, n_bytes=0) == 3
    assert digests_in(tmp_path) == [4, 5, 6]
    assert not (tmp_path / "date=2025-11-26").exists()
    assert retain(tmp_path, end_of_first + 500 * DAY, days=0, n_bytes=0) == 0


def test_the_oldest_files_go_by_bytes(tmp_path: Path, week: list[Path], digests_in: Digests) -> None:
    sizes = [path.stat().st_size for path in week]
    assert retain(tmp_path, 0.0, days=0, n_bytes=sum(sizes)) == 0
    assert retain(tmp_path, 0.0, days=0, n_bytes=sum(sizes) - 1) == 1
    assert retain(tmp_path, 0.0, days=0, n_bytes=sum(sizes[4:])) == 3
    assert digests_in(tmp_path) == [4, 5, 6]
    assert retain(tmp_path, 0.0, days=0, n_bytes=1) == 3
    assert digests_in(tmp_path) == []


def test_within_an_hour_the_first_opened_goes_first(tmp_path: Path, make_exchange: MakeExchange) -> None:
    for opened, worker in ((3, "a"), (1, "b"), (2, "c")):
        segment = LiveSegment(tmp_path, SegmentName.new(worker, HOUR_START, HOUR_START + opened), 0.0)
        segment.write([to_batch([make_exchange(opened)])])
        archive(tmp_path, segment.name)
        segment.close()
    assert [path.name[0] for path in archived_files(tmp_path)] == ["b", "c", "a"]


def test_a_strange_folder_is_never_too_old(tmp_path: Path) -> None:
    strange = tmp_path / "date=yesterday/hour=noon/x.parquet"
    strange.parent.mkdir(parents=True)
    strange.write_bytes(b"")
    assert retain(tmp_path, datetime.now(UTC).timestamp(), days=1, n_bytes=0) == 0
    assert JournalFolder(tmp_path).connect().execute("SELECT count(*) FROM exchanges").fetchone() == (0,)


def test_payloads_and_missing_vectors_survive(tmp_path: Path, make_exchange: MakeExchange) -> None:
    segment = LiveSegment(tmp_path, SegmentName.new("w", HOUR_START, HOUR_START), 0.0)
    batch = to_batch([make_exchange(1, n_rows=2, payload=b"\x00{}")])
    columns = batch.columns
    columns[SCHEMA.names.index("vector")] = pa.nulls(2, SCHEMA.field("vector").type)
    batch = pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
    segment.write([batch])
    archive(tmp_path, segment.name)
    segment.close()
    assert pq.ParquetFile(archived_files(tmp_path)[0]).read().to_pylist() == batch.to_pylist()

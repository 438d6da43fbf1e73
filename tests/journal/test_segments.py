from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.journal import SCHEMA, Exchange, to_batch
from counterclone.journal import segments as module
from counterclone.journal.segments import (
    HEADER,
    LiveSegment,
    SegmentName,
    check_worker,
    hold,
    is_held,
    live_files,
    read_live,
)

MakeExchange = Callable[..., Exchange]
Disk = tuple[Path, Callable[[], None], Callable[[], None]]
HOUR_START = 1_764_158_400  # 2025-11-26T12:00:00Z


def open_segment(folder: Path) -> LiveSegment:
    return LiveSegment(folder, SegmentName.new("w", HOUR_START, HOUR_START), HOUR_START)


def digests(path: Path) -> list[int]:
    return [digest for batch in read_live(path).batches for digest in batch.column("digest").to_pylist()]


@pytest.fixture
def written(tmp_path: Path, make_exchange: MakeExchange) -> Path:
    """A closed segment of three batches, with the digests 0, 1 and 2."""
    segment = open_segment(tmp_path)
    for digest in range(3):
        segment.write([to_batch([make_exchange(digest)])])
    segment.close()
    return segment.name.live_path(tmp_path)


def test_names_say_where_the_files_are() -> None:
    name = SegmentName("worker-1", "2025-11-26", "12", "0" * 20)
    folder = Path("j")
    assert name.live_path(folder) == folder / "live/worker-1/2025-11-26T12-00000000000000000000.arrows"
    assert name.archive_path(folder) == (
        folder / "date=2025-11-26/hour=12/worker-1-00000000000000000000.parquet")
    assert SegmentName.of_live(name.live_path(folder)) == name
    assert SegmentName.of_live(folder / "live/worker-1/2025-11-26T12-0.arrows") is None


@pytest.mark.parametrize("now", [0.0, 1e9, -5.0, 1e300])
def test_names_never_meet_whatever_the_clock_says(now: float) -> None:
    names = {SegmentName.new("w", HOUR_START, now) for _ in range(1000)}
    assert len(names) == 1000
    assert all(SegmentName.of_live(name.live_path(Path("j"))) == name for name in names)


@pytest.mark.parametrize("worker", ["", "a/b", "..", ".hidden", "a b", "x" * 65, "é"])
def test_a_workers_name_must_fit_a_file_name(worker: str) -> None:
    with pytest.raises(ValueError, match="worker's name"):
        check_worker(worker)


def test_what_was_written_is_read(written: Path) -> None:
    reading = read_live(written)
    assert (digests(written), reading.bytes_cut, reading.problem) == ([0, 1, 2], 0, None)
    assert all(batch.schema.equals(SCHEMA, check_metadata=True) for batch in reading.batches)
    with pa.ipc.open_stream(written) as reader:  # any Arrow program reads it
        assert reader.read_all().num_rows == 3


def test_a_header_alone_is_empty_and_a_torn_header_is_cut(written: Path) -> None:
    written.write_bytes(HEADER)
    assert read_live(written) == ([], 0, None)
    for n in range(len(HEADER)):
        written.write_bytes(HEADER[:n])
        assert read_live(written) == ([], n, None)


def test_a_batch_cut_at_any_byte_leaves_those_before_it(written: Path) -> None:
    data = written.read_bytes()
    start = len(HEADER) + (len(data) - len(HEADER)) * 2 // 3
    for end in range(start, len(data)):
        written.write_bytes(data[:end])
        assert digests(written) == [0, 1]
        assert read_live(written).bytes_cut == end - start


@given(tail=st.binary(min_size=1, max_size=300))
def test_anything_behind_the_last_batch_is_cut(
        make_exchange: MakeExchange, tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    path = tmp_path_factory.mktemp("tail") / "live.arrows"
    path.write_bytes(HEADER + to_batch([make_exchange(7)]).serialize().to_pybytes() + tail)
    assert digests(path) == [7]
    assert read_live(path).bytes_cut == len(tail)


def test_a_flipped_bit_is_never_more_than_fewer_or_other_rows(written: Path) -> None:
    data = bytearray(written.read_bytes())
    for place in range(0, len(data), 5):
        data[place] ^= 0x55
        written.write_bytes(data)
        reading = read_live(written)
        assert sum(batch.num_rows for batch in reading.batches) <= 3
        for batch in reading.batches:
            batch.to_pylist()
        data[place] ^= 0x55


@pytest.mark.parametrize(("data", "problem"), [
    (b"garbage" * 100, "not an Arrow stream"),
    (pa.schema([("time", pa.int64())]).serialize().to_pybytes(), "columns aren't a journal's"),
    (SCHEMA.with_metadata({b"counterclone.journal": b"9"}).serialize().to_pybytes(), "format is 9"),
])
def test_another_file_is_named_as_such(written: Path, data: bytes, problem: str) -> None:
    written.write_bytes(data)
    reading = read_live(written)
    assert reading.batches == []
    assert reading.bytes_cut == len(data)
    assert problem in str(reading.problem)


def test_a_file_too_large_to_be_a_segment_is_not_read(written: Path) -> None:
    with written.open("r+b") as file:
        file.truncate(module.MAX_LIVE_BYTES + 1)  # sparse: takes no room
    assert "larger than" in str(read_live(written).problem)


def test_a_writer_holds_its_file_until_it_closes(tmp_path: Path) -> None:
    segment = open_segment(tmp_path)
    path = segment.name.live_path(tmp_path)
    file = os.open(path, os.O_RDWR)
    assert is_held(path)
    with pytest.raises(BlockingIOError):
        hold(file)
    segment.close()
    assert not is_held(path)
    hold(file)
    os.close(file)


def test_a_reader_does_not_look_like_a_writer(written: Path) -> None:
    file = os.open(written, os.O_RDONLY)
    fcntl.flock(file, fcntl.LOCK_SH)
    assert not is_held(written)
    os.close(file)


def test_a_file_that_was_moved_or_removed_is_lost(tmp_path: Path) -> None:
    segment = open_segment(tmp_path / "a")
    assert not segment.is_lost
    (tmp_path / "a").rename(tmp_path / "b")
    assert segment.is_lost
    (tmp_path / "a").write_text("not a folder")
    assert segment.is_lost
    segment.close()


def test_a_write_that_fails_leaves_nothing(small_disk: Disk, make_exchange: MakeExchange) -> None:
    folder, fill, free = small_disk
    segment = open_segment(folder)
    path = segment.name.live_path(folder)
    batch = to_batch([make_exchange(1, n_rows=1000)])
    segment.write([batch, batch])
    with pytest.raises(OSError, match=r"No space|too large"):
        segment.write([batch] * 10)
    assert not segment.is_broken
    assert path.stat().st_size == segment.n_bytes
    fill()
    with pytest.raises(OSError, match=r"No space|too large"):
        segment.write([batch])
    free()
    segment.write([batch])
    segment.close()
    assert sum(batch.num_rows for batch in read_live(path).batches) == 3000
    assert read_live(path).bytes_cut == 0


def test_a_header_that_does_not_fit_leaves_no_file(small_disk: Disk) -> None:
    folder, fill, free = small_disk
    folder.mkdir()
    fill()
    with pytest.raises(OSError, match=r"No space|too large"):
        open_segment(folder)
    free()
    assert list(live_files(folder)) == []
    open_segment(folder).close()

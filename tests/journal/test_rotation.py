from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from counterclone.journal import Exchange, to_batch
from counterclone.journal.archive import archived_files
from counterclone.journal.rotation import MAX_OPEN, SEGMENT_BYTES, SEGMENT_SECONDS, Rotation
from counterclone.journal.segments import live_files, read_live

MakeExchange = Callable[..., Exchange]
Digests = Callable[[Path], list[int]]
HOUR = 3600
NOON = 1_764_158_400


class Clock:
    def __init__(self) -> None:
        self.now = float(NOON)

    def __call__(self) -> float:
        return self.now


def n_live(folder: Path) -> int:
    return len(list(live_files(folder)))


def finish(rotation: Rotation) -> None:
    rotation.close_all()
    rotation.archive_closed()


def test_each_hour_has_its_segment(tmp_path: Path, make_exchange: MakeExchange, digests_in: Digests) -> None:
    rotation = Rotation(tmp_path, "w", Clock())
    for digest, hour in enumerate([NOON, NOON + HOUR, NOON, NOON + HOUR]):
        rotation.write(hour, to_batch([make_exchange(digest, time=hour + digest)]))
    assert n_live(tmp_path) == 2
    finish(rotation)
    assert [path.parent.name for path in archived_files(tmp_path)] == ["hour=12", "hour=13"]
    assert digests_in(tmp_path) == [0, 2, 1, 3]


def test_a_clock_that_jumps_about_opens_few_files_at_once(tmp_path: Path, make_exchange: MakeExchange,
                                                          digests_in: Digests) -> None:
    rotation = Rotation(tmp_path, "w", Clock())
    hours = [NOON + HOUR * jump for jump in (0, -5, 9, -100, 3, 0, -5, 9)]
    for digest, hour in enumerate(hours):
        rotation.write(hour, to_batch([make_exchange(digest, time=hour)]))
        rotation.archive_closed()
        assert n_live(tmp_path) <= MAX_OPEN
    finish(rotation)
    assert n_live(tmp_path) == 0
    assert digests_in(tmp_path) == [3, 1, 6, 0, 5, 4, 2, 7]


def test_a_large_segment_is_closed(tmp_path: Path, make_exchange: MakeExchange, digests_in: Digests) -> None:
    rotation = Rotation(tmp_path, "w", Clock())
    for digest in range(5):
        rotation.write(NOON, to_batch([make_exchange(digest, payload=bytes(SEGMENT_BYTES // 4))]))
    rotation.archive_closed()
    assert (n_live(tmp_path), len(archived_files(tmp_path))) == (1, 1)
    assert digests_in(tmp_path) == [0, 1, 2, 3, 4]
    finish(rotation)


@pytest.mark.parametrize("direction", [1, -1])
def test_a_segment_is_closed_after_ten_minutes_or_a_jump_back(tmp_path: Path, make_exchange: MakeExchange,
                                                             direction: int) -> None:
    clock = Clock()
    rotation = Rotation(tmp_path, "w", clock)
    rotation.write(NOON, to_batch([make_exchange(1)]))
    clock.now += direction * (SEGMENT_SECONDS - 1)
    rotation.close_old()
    rotation.archive_closed()
    assert (n_live(tmp_path), len(archived_files(tmp_path))) == (1, 0)
    clock.now += direction
    rotation.close_old()
    rotation.archive_closed()
    assert (n_live(tmp_path), len(archived_files(tmp_path))) == (0, 1)


def test_a_large_exchange_is_written_in_batches(tmp_path: Path, make_exchange: MakeExchange) -> None:
    rotation = Rotation(tmp_path, "w", Clock())
    rotation.write(NOON, to_batch([make_exchange(0, n_rows=2500)]))
    (path, _), = live_files(tmp_path)
    assert [batch.num_rows for batch in read_live(path).batches] == [1024, 1024, 452]
    finish(rotation)


def test_a_folder_that_was_removed_is_said_and_made_again(tmp_path: Path, make_exchange: MakeExchange,
                                                         digests_in: Digests) -> None:
    folder = tmp_path / "journal"
    rotation = Rotation(folder, "w", Clock())
    rotation.write(NOON, to_batch([make_exchange(1)]))
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match="moved or removed"):
        rotation.write(NOON, to_batch([make_exchange(2)]))
    rotation.write(NOON, to_batch([make_exchange(3)]))
    assert digests_in(folder) == [3]
    shutil.rmtree(folder)
    finish(rotation)  # nothing is left to archive


def test_released_files_are_orphans(tmp_path: Path, make_exchange: MakeExchange, digests_in: Digests) -> None:
    rotation = Rotation(tmp_path, "w", Clock())
    rotation.write(NOON, to_batch([make_exchange(1)]))
    rotation.release()
    rotation.archive_closed()
    assert n_live(tmp_path) == 1
    assert digests_in(tmp_path) == [1]

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from counterclone.console.trail import SHOWN, Entry, Trail
from counterclone.errors import SourceError


@pytest.fixture(name="path")
def fixture_path(tmp_path: Path) -> Path:
    return tmp_path / "trail.jsonl"


def test_what_was_done_is_told_the_last_first(path: Path) -> None:
    trail = Trail(path, clock=lambda: 5.0)
    assert trail.last() == ([], 0)
    trail.add("ann", "log in")
    trail.add("ann", "decide", subject="case 1", before="review", after="block", note="they wrote\nback")
    assert trail.last() == ([
        Entry(time=5.0, who="ann", action="decide", subject="case 1", before="review", after="block",
              note="they wrote\nback"), Entry(time=5.0, who="ann", action="log in")], 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_people_at_once_lose_no_line(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: Trail(path).add(f"who {i}", "note", note="x" * 3000), range(200)))
    entries, n_unread = Trail(path).last()
    assert ({entry.who for entry in entries}, n_unread) == ({f"who {i}" for i in range(200)}, 0)


def test_half_a_line_is_ended_first_and_counted(path: Path) -> None:
    path.write_bytes(b'{"time": 1, "who": "ann", "act')
    Trail(path).add("bob", "log in")
    entries, n_unread = Trail(path).last()
    assert ([entry.who for entry in entries], n_unread) == (["bob"], 1)


def test_a_long_trail_shows_its_end(path: Path) -> None:
    line = b'{"time":1.0,"who":"ann","action":"log in"}\n'
    path.write_bytes(line * 10_000)
    assert len(Trail(path).last()[0]) == SHOWN
    assert path.stat().st_size == 10_000 * len(line)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    path = tmp_path / "full"
    path.symlink_to("/dev/full")
    with pytest.raises(SourceError, match="No space left on device; nothing is done that the trail can't take"):
        Trail(path).add("ann", "log in")

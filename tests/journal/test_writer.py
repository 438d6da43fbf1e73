from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest
from msgspec.structs import replace

from counterclone.journal import Exchange, JournalFolder, JournalWriter, to_batch
from counterclone.journal.archive import archived_files
from counterclone.journal.segments import live_files
from counterclone.journal.waiting import MAX_ROWS

MakeExchange = Callable[..., Exchange]
Digests = Callable[[Path], list[int]]
Disk = tuple[Path, Callable[[], None], Callable[[], None]]
NOON = 1_764_158_400.0

PRELUDE = """
import sys
from counterclone.journal import Exchange, JournalWriter

def exchange(digest):
    return Exchange(time=1764158400.0 + digest / 1000, account="a", account_class="", dialect="oip", model="",
                    decision="served", status=200, digests=[digest], labels=[0], margins=[0.5], n_classes=2,
                    bits=1.0)

writer = JournalWriter(sys.argv[1], sys.argv[2])
"""


def run(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PRELUDE + script, *map(str, arguments)],
                            stdout=subprocess.PIPE, text=True)


def eventually(condition: Callable[[], bool], seconds: float = 8.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@contextlib.contextmanager
def closing(writer: JournalWriter) -> Iterator[JournalWriter]:
    try:
        yield writer
    finally:
        writer.close()


def test_rows_are_on_the_disk_after_a_flush(tmp_path: Path, make_exchange: MakeExchange,
                                            digests_in: Digests) -> None:
    with closing(JournalWriter(tmp_path / "a" / "journal", "w")) as writer:
        for digest in range(0, 3000, 3):
            writer.append(make_exchange(digest, time=NOON + digest, n_rows=3))
        assert writer.flush()
        assert digests_in(tmp_path / "a" / "journal") == list(range(3000))
        assert (writer.flushed, writer.dropped, writer.last_error) == (3000, 0, None)
    assert digests_in(tmp_path / "a" / "journal") == list(range(3000))
    assert list(live_files(tmp_path / "a" / "journal")) == []


def test_a_row_is_on_the_disk_within_a_second(tmp_path: Path, make_exchange: MakeExchange,
                                              digests_in: Digests) -> None:
    with closing(JournalWriter(tmp_path, "w")) as writer:
        for digest in range(2):
            begun = time.monotonic()
            writer.append(make_exchange(digest, time=NOON + digest))
            assert eventually(lambda n=digest + 1: writer.flushed == n)  # type: ignore[misc]
            assert time.monotonic() - begun < 1.5  # half a second for a busy machine
        assert digests_in(tmp_path) == [0, 1]


def test_many_rows_do_not_wait_for_the_second(tmp_path: Path, make_exchange: MakeExchange) -> None:
    with closing(JournalWriter(tmp_path, "w")) as writer:
        writer.append(make_exchange(0))
        assert eventually(lambda: writer.flushed == 1)
        begun = time.monotonic()
        for digest in range(256):
            writer.append(make_exchange(digest))
        assert eventually(lambda: writer.flushed == 257)
        assert time.monotonic() - begun < 0.6


def test_closing_twice_is_closing_once_and_later_rows_are_dropped(
        tmp_path: Path, make_exchange: MakeExchange, digests_in: Digests) -> None:
    writer = JournalWriter(tmp_path, "w")
    writer.append(make_exchange(1))
    writer.close()
    writer.close()
    writer.append(make_exchange(2, n_rows=5))
    assert writer.flush()
    assert (writer.flushed, writer.dropped) == (1, 5)
    assert digests_in(tmp_path) == [1]
    assert not any(thread.name == "journal w" for thread in threading.enumerate())


def test_a_workers_name_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="worker's name"):
        JournalWriter(tmp_path, "../w")


def test_a_kill_loses_nothing_that_was_flushed(tmp_path: Path, digests_in: Digests) -> None:
    process = run("""
for digest in range(10**9):
    writer.append(exchange(digest))
    if digest % 500 == 499:
        writer.flush()
        print(writer.flushed, flush=True)
""", tmp_path, "killed")
    with process:
        assert process.stdout is not None
        flushed = 0
        while flushed < 20_000:
            flushed = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
    flushed = int(rest[-1]) if rest else flushed
    folder = JournalFolder(tmp_path)
    left = [row[0] for row in folder.connect().execute("SELECT digest FROM exchanges ORDER BY 1").fetchall()]
    assert left == list(range(len(left)))
    assert len(left) >= flushed
    assert len(list(live_files(tmp_path))) == 1

    writer = JournalWriter(tmp_path, "next")
    assert eventually(lambda: writer.recovery is not None)
    writer.close()
    assert writer.recovery is not None
    assert (writer.recovery.segments, writer.recovery.rows) == (1, len(left))
    assert list(live_files(tmp_path)) == []
    assert digests_in(tmp_path) == left


def test_bytes_of_a_half_written_batch_are_reported(tmp_path: Path, make_exchange: MakeExchange,
                                                    digests_in: Digests, caplog: pytest.LogCaptureFixture) -> None:
    process = run("writer.append(exchange(1)); writer.flush(); import os, signal; os.kill(0, signal.SIGKILL)"
                  .replace("os.kill(0,", "os.kill(os.getpid(),"), tmp_path, "killed")
    with process:
        process.wait()
    (path, _), = live_files(tmp_path)
    with path.open("ab") as file:
        file.write(b"\xff\xff\xff\xff\x10\x01")
    with caplog.at_level(logging.INFO), closing(JournalWriter(tmp_path, "next")) as writer:
        assert eventually(lambda: writer.recovery is not None)
    assert writer.recovery == (1, 1, 6)
    assert "bytes_cut=6" in caplog.text
    assert digests_in(tmp_path) == [1]


def test_a_full_disk_keeps_rows_until_there_is_room(small_disk: Disk, make_exchange: MakeExchange,
                                                    digests_in: Digests, caplog: pytest.LogCaptureFixture) -> None:
    folder, fill, free = small_disk
    with closing(JournalWriter(folder, "w")) as writer:
        writer.append(make_exchange(0))
        assert writer.flush()
        fill()
        for digest in range(1, 30_001):
            writer.append(make_exchange(digest, time=NOON + digest / 1000))
        assert not writer.flush()
        assert eventually(lambda: writer.errors >= 2)  # the thread tries again by itself
        errors, told = writer.errors, writer.last_error or ""
        assert "No space" in told or "too large" in told
        assert writer.dropped == 0
        free()
        assert eventually(lambda: writer.flushed == 30_001)
        assert writer.last_error is None
        assert writer.errors <= errors + 1
        assert digests_in(folder) == list(range(30_001))
    assert digests_in(folder) == list(range(30_001))
    assert caplog.text.count("journal can't be written") == 1


def test_rows_are_dropped_from_the_oldest_and_counted_exactly(
        tmp_path: Path, make_exchange: MakeExchange, digests_in: Digests) -> None:
    folder = tmp_path / "journal"
    folder.write_text("a file in the way")
    with closing(JournalWriter(folder, "w")) as writer:
        writer.append(make_exchange(0, n_rows=10))
        assert eventually(lambda: writer.errors == 1)  # and now the thread waits a second
        for digest in range(10, MAX_ROWS + 5000, 10):
            writer.append(make_exchange(digest, time=NOON + digest / 100, n_rows=10, d=1))
        assert not writer.flush()
        n_appended = len(range(0, MAX_ROWS + 5000, 10)) * 10
        assert writer.flushed == 0
        assert 0 <= writer.dropped - (n_appended - MAX_ROWS) < 10
        folder.unlink()
        assert eventually(writer.flush)
        assert writer.flushed + writer.dropped == n_appended
        written = digests_in(folder)
    assert sorted(written) == list(range(n_appended - writer.flushed, n_appended))


def test_a_disk_that_never_comes_back_does_not_stop_the_end(tmp_path: Path, make_exchange: MakeExchange) -> None:
    (tmp_path / "journal").write_text("a file in the way")
    writer = JournalWriter(tmp_path / "journal", "w")
    writer.append(make_exchange(0, n_rows=7))
    writer.close()
    assert (writer.flushed, writer.dropped) == (0, 7)
    assert "journal" in str(writer.last_error)


def test_a_removed_folder_is_made_again(tmp_path: Path, make_exchange: MakeExchange, digests_in: Digests) -> None:
    folder = tmp_path / "journal"
    with closing(JournalWriter(folder, "w")) as writer:
        writer.append(make_exchange(1))
        assert writer.flush()
        shutil.rmtree(folder)
        writer.append(make_exchange(2))
        assert eventually(writer.flush)
        assert writer.errors >= 1
        assert digests_in(folder) == [2]


def test_a_read_only_disk_is_waited_for(small_disk: Disk, make_exchange: MakeExchange,
                                        digests_in: Digests) -> None:
    folder, _, free = small_disk
    remounted = subprocess.run(["mount", "-o", "remount,ro", folder.parent], check=False, capture_output=True)
    if remounted.returncode != 0:  # not a mount: a folder that can't be one
        folder.symlink_to("/proc/self/fdinfo")
    with closing(JournalWriter(folder, "w")) as writer:
        writer.append(make_exchange(1))
        assert not writer.flush()
        assert writer.last_error
        if remounted.returncode == 0:
            subprocess.run(["mount", "-o", "remount,rw", folder.parent], check=True)
        else:
            folder.unlink()
        free()
        assert eventually(writer.flush)
        assert digests_in(folder) == [1]


def test_an_exchange_that_is_no_rows_keeps_no_other_back(
        tmp_path: Path, make_exchange: MakeExchange, digests_in: Digests,
        caplog: pytest.LogCaptureFixture) -> None:
    with closing(JournalWriter(tmp_path, "w")) as writer:
        for digest in range(0, 40, 2):
            writer.append(make_exchange(digest, time=NOON + digest))
            writer.append(replace(make_exchange(0, n_rows=3), time=float("nan") if digest % 3 else 1e300))
            writer.append(replace(make_exchange(digest + 1, time=NOON + digest), account=None))
        assert writer.flush()
        assert (writer.flushed, writer.dropped) == (20, 80)
        assert writer.last_error is None
    assert digests_in(tmp_path) == list(range(0, 40, 2))
    assert caplog.text.count("exchange not journalled") == 1


class Request(NamedTuple):
    """A block that only becomes rows in the writer's thread."""

    time: float
    digest: int
    n_rows: int = 1
    n_bytes: int = 100


def test_what_is_appended_may_be_encoded_in_the_thread(tmp_path: Path, make_exchange: MakeExchange,
                                                       digests_in: Digests) -> None:
    threads = set()

    def encode(requests: Sequence[Request]) -> pa.RecordBatch:
        threads.add(threading.current_thread().name)
        if any(request.digest == 13 for request in requests):
            raise ZeroDivisionError("this one can't be read")
        return to_batch([make_exchange(request.digest, time=request.time) for request in requests])

    with closing(JournalWriter(tmp_path, "w", encode=encode)) as writer:
        for digest in range(300):
            writer.append(Request(NOON + digest, digest))
        assert eventually(lambda: writer.flushed == 299)
        assert writer.dropped == 1
        assert writer.last_error is None
    assert threads == {"journal w"}
    assert digests_in(tmp_path) == [digest for digest in range(300) if digest != 13]


def test_what_the_disk_refused_is_encoded_again_and_written_once(
        tmp_path: Path, make_exchange: MakeExchange, digests_in: Digests) -> None:
    encoded: list[int] = []

    def encode(requests: Sequence[Request]) -> pa.RecordBatch:
        encoded.extend(request.digest for request in requests)
        return to_batch([make_exchange(request.digest, time=request.time) for request in requests])

    (tmp_path / "journal").write_text("a file in the way")
    with closing(JournalWriter(tmp_path / "journal", "w", encode=encode)) as writer:
        writer.append(Request(NOON, 1))
        assert not writer.flush()
        (tmp_path / "journal").unlink()
        assert eventually(writer.flush)
        assert len(encoded) > 1
        assert set(encoded) == {1}
        assert digests_in(tmp_path / "journal") == [1]


def test_rows_of_two_hours_go_to_their_hours(tmp_path: Path, make_exchange: MakeExchange,
                                             digests_in: Digests) -> None:
    with closing(JournalWriter(tmp_path, "w")) as writer:
        for digest in range(100):  # late ones come after the full hour
            writer.append(make_exchange(digest, time=NOON + (7200 if digest % 2 else 0) + digest))
        assert writer.flush()
    assert [path.parent.name for path in archived_files(tmp_path)] == ["hour=12", "hour=14"]
    assert digests_in(tmp_path) == [*range(0, 100, 2), *range(1, 100, 2)]


def test_a_clock_that_jumps_back_loses_nothing(tmp_path: Path, make_exchange: MakeExchange,
                                               digests_in: Digests) -> None:
    times = [NOON, NOON + 7200, NOON - 86_400, NOON - 86_400 + 1, NOON]
    for digest, now in enumerate(times):
        with closing(JournalWriter(tmp_path, "w", clock=lambda now=now: now)) as writer:  # type: ignore[misc]
            writer.append(make_exchange(digest, time=now))
    assert digests_in(tmp_path) == [2, 3, 0, 4, 1]
    assert len(archived_files(tmp_path)) == 5


def test_two_processes_and_a_reader_share_a_folder(tmp_path: Path, digests_in: Digests) -> None:
    script = """
start = int(sys.argv[3])
for digest in range(start, start + 20_000):
    writer.append(exchange(digest))
    if digest % 1000 == 0:
        writer.flush()
writer.close()
assert (writer.flushed, writer.dropped) == (20_000, 0)
"""
    with run(script, tmp_path, "same", 0) as first, run(script, tmp_path, "same", 20_000) as second:
        assert eventually(lambda: any(True for _ in live_files(tmp_path)), 20)
        while first.poll() is None or second.poll() is None:
            folder = JournalFolder(tmp_path)
            with folder.connect() as connection:
                n_rows, n_digests = connection.execute(
                    "SELECT count(*), count(DISTINCT digest) FROM exchanges").fetchall()[0]
            assert n_rows == n_digests
            seen = [digest for batch in folder.batches() for digest in batch.column("digest").to_pylist()]
            assert len(set(seen)) == len(seen) >= n_rows
            assert folder.problems == []
    assert (first.returncode, second.returncode) == (0, 0)
    assert digests_in(tmp_path) == list(range(40_000))


def test_what_waits_at_the_end_of_the_interpreter_is_written(tmp_path: Path, digests_in: Digests) -> None:
    with run("writer.append(exchange(1))", tmp_path, "w") as process:
        assert process.wait() == 0
    assert digests_in(tmp_path) == [1]
    assert list(live_files(tmp_path)) == []


def test_a_fork_starts_afresh(tmp_path: Path, digests_in: Digests) -> None:
    with run("""
import os
writer.append(exchange(1))
child = os.fork()
writer.append(exchange(3 if child else 2))
if not child:
    assert writer.flush() and writer.flushed == 1
    writer.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
writer.close()
assert (writer.flushed, writer.dropped) == (2, 0)
""", tmp_path, "w") as process:
        assert process.wait() == 0
    assert digests_in(tmp_path) == [1, 2, 3]
    assert list(live_files(tmp_path)) == []


def test_old_files_are_removed_at_the_start(tmp_path: Path, make_exchange: MakeExchange,
                                            digests_in: Digests) -> None:
    for digest in range(3):
        with closing(JournalWriter(tmp_path, "w")) as writer:
            writer.append(make_exchange(digest, time=NOON + digest * 86_400))
    writer = JournalWriter(tmp_path, "w", retention_days=1.5, clock=lambda: NOON + 3 * 86_400)
    assert eventually(lambda: len(archived_files(tmp_path)) == 1)
    writer.close()
    assert digests_in(tmp_path) == [2]


def test_the_bytes_of_archived_files_are_bounded(tmp_path: Path, make_exchange: MakeExchange,
                                                 digests_in: Digests) -> None:
    with closing(JournalWriter(tmp_path, "w", retention_bytes=300_000)) as writer:
        for digest in range(5):
            writer.append(make_exchange(digest, time=NOON + 3600 * digest, payload=os.urandom(100_000)))
    assert sum(path.stat().st_size for path in archived_files(tmp_path)) <= 300_000
    assert digests_in(tmp_path) == [3, 4]


# Who watches

def test_batches_are_handed_on_once_they_are_on_the_disk(tmp_path: Path, make_exchange: MakeExchange,
                                                         digests_in: Digests) -> None:
    seen: list[list[int]] = []

    def watch(batch: pa.RecordBatch) -> None:
        seen.append(batch.column("digest").to_pylist())
        assert sorted(digests_in(tmp_path)) == sorted(digest for each in seen for digest in each)

    with closing(JournalWriter(tmp_path, "w", on_batch=watch)) as writer:
        for digest in range(5):
            writer.append(make_exchange(digest))
            writer.flush()
        assert (writer.batches_missed, writer.last_missed) == (0, None)
    assert [digest for each in seen for digest in each] == [0, 1, 2, 3, 4]


def test_a_watch_that_fails_stops_no_journal(tmp_path: Path, make_exchange: MakeExchange,
                                             digests_in: Digests) -> None:
    fails = True

    def watch(batch: pa.RecordBatch) -> None:
        if fails:
            raise ValueError("no detector")

    with closing(JournalWriter(tmp_path, "w", on_batch=watch)) as writer:
        writer.append(make_exchange(1))
        assert writer.flush()
        assert (writer.batches_missed, writer.last_missed) == (1, "ValueError: no detector")
        assert (writer.errors, writer.last_error, writer.dropped) == (0, None, 0)
        fails = False
        writer.append(make_exchange(2))
        assert writer.flush()
        assert (writer.batches_missed, writer.last_missed) == (1, None)
    assert digests_in(tmp_path) == [1, 2]


@pytest.mark.parametrize("held", ["held", "unknown", "nobody"])
def test_retention_asks_whose_files_stay(tmp_path: Path, make_exchange: MakeExchange, held: str) -> None:
    def accounts() -> set[str]:
        if held == "unknown":
            raise ValueError("the file of cases can't be read")
        return {"0123456789abcdef"} if held == "held" else set()

    writer = JournalWriter(tmp_path, "w", retention_days=1, held=accounts)
    writer.append(make_exchange(1, time=NOON - 30 * 86_400))
    writer.close()
    assert len(archived_files(tmp_path)) == (held != "nobody")
    assert (writer.last_error is not None) == (held == "unknown")

from __future__ import annotations

import gc
import logging
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from counterclone.errors import ConfigError
from counterclone.guard.workers import WorkerSlot

FULL = ("2 process(es) guard with this file already and limits are counted in each, so one more would exceed "
        "them; set [guard] workers to the number of processes")
HOLD = """
import sys
from pathlib import Path
from counterclone.guard.workers import WorkerSlot
slot = WorkerSlot(Path(sys.argv[1]), 2)
print(slot.number, flush=True)
sys.stdin.read()
"""


@pytest.fixture(name="lock")
def fixture_lock(tmp_path: Path) -> Path:
    return tmp_path / "counterclone.lock"


def holder(lock: Path) -> subprocess.Popen[str]:
    """A process that has a slot of two."""
    return subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)


def number_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def test_there_are_as_many_slots_as_workers(lock: Path) -> None:
    slots = [WorkerSlot(lock, 2) for _ in range(2)]
    assert [slot.number for slot in slots] == [0, 1]
    with pytest.raises(ConfigError) as caught:
        WorkerSlot(lock, 2)
    assert str(caught.value) == FULL


def test_a_closed_slot_is_free(lock: Path) -> None:
    first, second = WorkerSlot(lock, 2), WorkerSlot(lock, 2)
    first.close()
    first.close()
    assert WorkerSlot(lock, 2).number == 0
    second.close()


def test_a_slot_that_nobody_holds_is_free(lock: Path) -> None:
    slot = WorkerSlot(lock, 1)
    del slot
    gc.collect()
    assert WorkerSlot(lock, 1).number == 0


def test_slots_of_two_files_are_apart(tmp_path: Path) -> None:
    slots = [WorkerSlot(tmp_path / name, 1) for name in ("a.lock", "b.lock")]
    assert [slot.number for slot in slots] == [0, 0]


def test_slots_are_the_owners(lock: Path) -> None:
    slot = WorkerSlot(lock, 1)
    mode = lock.with_name("counterclone.lock.0").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    slot.close()


def test_processes_share_the_slots_and_death_frees_one(lock: Path) -> None:
    with holder(lock) as first, holder(lock) as second:
        assert {number_of(first), number_of(second)} == {0, 1}
        with pytest.raises(ConfigError, match="2 process"):
            WorkerSlot(lock, 2)
        os.kill(first.pid, signal.SIGKILL)
        first.wait(timeout=10)
        WorkerSlot(lock, 2).close()
        second.communicate(timeout=10)


def test_a_child_process_does_not_hold_the_slot(lock: Path) -> None:
    slot = WorkerSlot(lock, 1)
    with subprocess.Popen([sys.executable, "-c", "import sys; print(7, flush=True); sys.stdin.read()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, close_fds=False) as child:
        assert number_of(child) == 7
        slot.close()
        WorkerSlot(lock, 1).close()
        child.communicate(timeout=10)


@pytest.mark.parametrize("place", ["missing/counterclone.lock", "file/counterclone.lock"],
                         ids=["no folder", "under a file"])
def test_where_no_slot_can_be_made_it_warns(tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        slots = [WorkerSlot(tmp_path / place, 1) for _ in range(2)]
    assert [slot.number for slot in slots] == [0, 0]
    assert caplog.text.count("other processes that guard with this file can't be seen, and each would admit every "
                             "limit in full") == 2

"""What was served stays there: over restarts, a killed process, torn tails; and a changed byte is found."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from counterclone.errors import LedgerError
from counterclone.evidence import Entry, Payload, Role
from counterclone.prove import merkle, reading
from counterclone.prove.commitments import Chain, Commitment, Terms
from counterclone.prove.custody import Custody
from counterclone.prove.ledger import Head, LedgerWriter
from counterclone.prove.opened import Opened, by_query, served
from counterclone.prove.records import FORMAT

TERMS = Terms(model="m", epoch="1", marks=({"kind": "triggers", "rate": 0.002},))
SCORES = np.array([0.1, 0.9])


def marked(folder: Path, keys: Custody) -> list[list[Opened]]:
    """The marked queries that a ledger holds."""
    return by_query(reading.served_under(reading.parts(folder / "ledger", keys), 1), "triggers")


def entry(number: int, *, account: int = 0, is_marked: bool = False, mark: str = "triggers") -> Entry:
    cell = b"cell %d" % number
    payload = msgspec.json.encode(Payload(
        mark=mark, role="marked" if number % 2 else "control", cell=cell.hex(),
        query={"features": [float(number)]}, answer={"label": 1, "scores": SCORES.tolist()}, true=0, classes=2))
    return Entry(1.0, f"{account:016x}", cell, SCORES.astype("<f8").tobytes(), payload if is_marked else b"")


@pytest.fixture
def keys(tmp_path: Path) -> Custody:
    return Custody.make(tmp_path / "keys")


@pytest.fixture
def commitment(tmp_path: Path, keys: Custody) -> Commitment:
    return Chain(tmp_path / "keys", keys).in_force(TERMS, 1.0)


@pytest.fixture
def begin(tmp_path: Path, keys: Custody, commitment: Commitment) -> Callable[[], LedgerWriter]:
    return lambda: LedgerWriter(tmp_path / "ledger", keys, commitment)


Begin = Callable[[], LedgerWriter]


def test_marked_rows_come_back_once_each_with_all_accounts(begin: Begin, keys: Custody, tmp_path: Path) -> None:
    writer = begin()
    writer.append([entry(number) for number in range(5)])
    for account in (1, 2):
        writer.append([entry(5, account=account, is_marked=True), entry(6)])
    writer.append([entry(8, is_marked=True), entry(9, is_marked=True, mark="another")])
    parts = reading.parts(tmp_path / "ledger", keys)  # while somebody writes
    writer.close()
    held = served(by_query(reading.served_under(parts, 1), "triggers"))
    assert held.cells == [b"cell 5", b"cell 8"]
    assert held.roles.tolist() == [Role.MARKED, Role.CONTROL]
    assert held.accounts == [(f"{1:016x}", f"{2:016x}"), (f"{0:016x}",)]
    assert np.asarray(held.inputs).tolist() == [[5.0], [8.0]]
    assert (held.classes, held.truths.tolist(), held.labels.tolist()) == (2, [0, 0], [1, 1])
    assert not reading.served_under(parts, 2)


def test_a_record_tells_nothing_and_is_of_one_size(begin: Begin, tmp_path: Path) -> None:
    writer = begin()
    before = writer.size
    writer.append([entry(1, is_marked=True), entry(2), entry(2)])
    writer.close()
    content = (tmp_path / "ledger" / "0000" / "log").read_bytes()
    assert len(content) == FORMAT.size * (before + 3)
    records = [content[i:i + FORMAT.size] for i in range(before * FORMAT.size, len(content), FORMAT.size)]
    assert len({record[22:54] for record in records}) == 3  # the same query has another hash each time
    assert b"cell" not in content + (tmp_path / "ledger" / "0000" / "payloads").read_bytes()


def test_it_goes_on_after_a_restart_and_heads_are_consistent(begin: Begin, keys: Custody, tmp_path: Path) -> None:
    for _ in range(3):
        writer = begin()
        writer.append([entry(number, is_marked=True) for number in range(3)])
        writer.close()
    part, = reading.parts(tmp_path / "ledger", keys)
    heads = [signed.read(Head, "") for signed in part.heads]
    tree = part.tree()
    for old, new in itertools.pairwise(heads):
        assert merkle.is_consistent(old.size, bytes.fromhex(old.root), new.size, bytes.fromhex(new.root),
                                    tree.consistency(old.size, new.size))
    assert heads[-1].size == part.records.size == 12


def test_two_processes_have_two_parts(begin: Begin, keys: Custody, tmp_path: Path) -> None:
    writers = [begin(), begin()]
    for number, writer in enumerate(writers):
        writer.append([entry(1, account=number, is_marked=True)])
        writer.close()
    rows, = marked(tmp_path, keys)
    assert sorted(opened.account for opened in rows) == [f"{0:016x}", f"{1:016x}"]
    assert writers[0].id != writers[1].id


@pytest.mark.parametrize("n_bytes", [1, FORMAT.size - 1])
def test_half_a_record_is_cut(n_bytes: int, begin: Begin, keys: Custody, tmp_path: Path) -> None:
    writer = begin()
    writer.append([entry(1, is_marked=True)])
    size = writer.size
    writer.close()
    folder = tmp_path / "ledger" / "0000"
    for name in ("log", "payloads", "heads.jsonl"):
        with open(folder / name, "ab") as file:
            file.write(b"x" * n_bytes)
    writer = begin()
    assert writer.size == size + 1  # that it began again
    writer.append([entry(3, is_marked=True)])
    writer.close()
    assert len(marked(tmp_path, keys)) == 2


@pytest.mark.parametrize("n_lost", [1, 100, 10**6])
def test_a_record_whose_payload_a_power_cut_took_is_cut(n_lost: int, begin: Begin, keys: Custody,
                                                        tmp_path: Path) -> None:
    writer = begin()
    writer.append([entry(1, is_marked=True), entry(2)])
    size, payloads = writer.size, tmp_path / "ledger" / "0000" / "payloads"
    before = payloads.stat().st_size
    writer.append([entry(4), entry(3, is_marked=True), entry(5), entry(7, is_marked=True)])
    os.dup2(os.open(os.devnull, os.O_RDWR), writer._heads)  # the power cut came before the next head
    writer.close()
    os.truncate(payloads, max(payloads.stat().st_size - n_lost, before))
    writer = begin()
    assert writer.size in (size + 2, size + 4)  # the first record without its payload, and that it began again
    writer.append([entry(9, is_marked=True)])
    writer.close()
    held = [each[0].read().query["features"] for each in marked(tmp_path, keys)]
    assert (held[0], held[-1]) == ([1.0], [9.0])


@pytest.mark.parametrize("name", ["log", "payloads", "heads.jsonl", "id"])
def test_a_changed_byte_is_found(name: str, begin: Begin, keys: Custody, tmp_path: Path) -> None:
    writer = begin()
    writer.append([entry(number, is_marked=number < 2) for number in range(4)])
    writer.close()
    path = tmp_path / "ledger" / "0000" / name
    content = path.read_bytes()
    for place in range(0, len(content) - 1, max(len(content) // 40, 1)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1:])
        with pytest.raises(LedgerError, match="restore"):
            marked(tmp_path, keys)
    path.write_bytes(content)
    assert marked(tmp_path, keys)


def test_a_log_that_was_cut_is_not_gone_on_with(begin: Begin, tmp_path: Path) -> None:
    writer = begin()
    writer.append([entry(1), entry(2)])
    writer.close()
    path = tmp_path / "ledger" / "0000" / "log"
    path.write_bytes(path.read_bytes()[:FORMAT.size])
    with pytest.raises(LedgerError, match="changed or cut"):
        begin()


def test_what_cannot_be_written_does_not_count(begin: Begin, keys: Custody, tmp_path: Path) -> None:
    writer = begin()
    writer.append([entry(1, is_marked=True)])
    size = writer.size
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer._log)  # where nothing can be taken back either
    os.close(full)
    for message in ("No space left", "closed"):
        with pytest.raises(LedgerError, match=message):
            writer.append([entry(3, is_marked=True)])
    assert writer.last_error
    writer = begin()
    assert writer.size == size + 1
    writer.close()
    assert len(marked(tmp_path, keys)) == 1


def test_it_takes_longer_where_no_thread_is_left(begin: Begin, keys: Custody, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    writer = begin()
    monkeypatch.setattr(threading.Thread, "start", start)
    writer.append([entry(1, is_marked=True), entry(2)])
    writer.append([entry(3, is_marked=True)])
    writer.close()
    assert len(marked(tmp_path, keys)) == 2


def test_a_forked_process_writes_nothing(begin: Begin, tmp_path: Path) -> None:
    writer = begin()
    size = writer.size
    child = os.fork()
    if not child:
        try:
            writer.append([entry(1)])
        except LedgerError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    writer.append([entry(1)])
    assert writer.size == size + 1
    writer.close()


def test_a_ledger_that_was_changed_lets_go_of_its_part(begin: Begin, tmp_path: Path) -> None:
    begin().close()
    log = tmp_path / "ledger" / "0000" / "log"
    content = log.read_bytes()
    log.write_bytes(bytes(len(content)))
    with pytest.raises(LedgerError):
        begin()
    log.write_bytes(content)
    writer = begin()
    writer.close()
    assert [path.name for path in (tmp_path / "ledger").iterdir()] == ["0000"]


def test_no_ledger(keys: Custody, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger"):
        reading.parts(tmp_path / "ledger", keys)


CHILD = """
import sys
from pathlib import Path
from tests.prove.test_ledger import TERMS, entry
from counterclone.prove.commitments import Chain
from counterclone.prove.custody import Custody
from counterclone.prove.ledger import LedgerWriter

folder = Path(sys.argv[1])
keys = Custody.load(folder / "keys")
writer = LedgerWriter(folder / "ledger", keys, Chain(folder / "keys", keys).all()[-1])
number = int(sys.argv[2])
while True:
    writer.append([entry(number, is_marked=number % 5 == 1)])
    print(number, flush=True)
    number += 1
"""


def test_nothing_that_was_acknowledged_is_missing_after_a_kill(keys: Custody, commitment: Commitment,
                                                               tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    first = 0
    for round_number in range(3):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), str(first)], stdout=subprocess.PIPE,
                                 cwd=Path(__file__).parents[2])
        assert child.stdout is not None
        with child.stdout as lines:
            for _ in range(50 + 17 * round_number):
                acknowledged.add(int(lines.readline()))
            child.send_signal(signal.SIGKILL)
            acknowledged |= {int(line) for line in lines.read().splitlines(keepends=True) if line.endswith(b"\n")}
        child.wait()
        first = max(acknowledged) + 10
    LedgerWriter(tmp_path / "ledger", keys, commitment).close()  # it opens again
    part, = reading.parts(tmp_path / "ledger", keys)
    kept = {int(bytes.fromhex(opened.read().cell).split()[1]) for opened in part.opened()}
    assert {number for number in acknowledged if number % 5 == 1} <= kept
    assert int((part.records["kind"] == 1).sum()) >= len(acknowledged)

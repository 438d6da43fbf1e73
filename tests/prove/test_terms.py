"""Which terms accounts accepted, and when: written once, and remembered over restarts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Clock

from counterclone.errors import LedgerError
from counterclone.evidence import Accepted
from counterclone.prove import ledger, reading
from counterclone.prove.commitments import Chain, Terms
from counterclone.prove.custody import Custody
from counterclone.prove.ledger import LedgerWriter
from counterclone.prove.reading import Acceptance

ANN, BOB = "00000000000000aa", "00000000000000bb"
MARCH, MAY = Accepted("2026-03", "use"), Accepted("2026-05", "use")
TERMS = Terms(model="m", epoch="1", marks=({"kind": "triggers"},))

Begin = Callable[[], LedgerWriter]


@pytest.fixture
def keys(tmp_path: Path) -> Custody:
    return Custody.make(tmp_path / "keys")


@pytest.fixture
def begin(tmp_path: Path, keys: Custody, clock: Clock) -> Begin:
    commitment = Chain(tmp_path / "keys", keys).in_force(TERMS, 1.0)
    return lambda: LedgerWriter(tmp_path / "ledger", keys, commitment, clock)


def held(folder: Path, keys: Custody) -> list[Acceptance]:
    return reading.accepted(reading.parts(folder / "ledger", keys))


def test_a_version_is_written_once_for_each_account(begin: Begin, keys: Custody, tmp_path: Path,
                                                    clock: Clock) -> None:
    writer = begin()
    for account, accepted in ((ANN, MARCH), (BOB, MARCH), (ANN, MARCH), (ANN, MAY), (BOB, MARCH)):
        clock.now += 1
        writer.accept(account, accepted)
    assert writer.size == 1 + 3
    writer.close()
    clock.now += 1
    writer = begin()
    for accepted in (MARCH, MAY, Accepted("2026-05", "proxy")):
        writer.accept(ANN, accepted)
    assert writer.size == 1 + 3 + 1 + 1
    writer.close()
    assert held(tmp_path, keys) == [
        Acceptance(account=ANN, time=1001.0, version="2026-03", by="use"),
        Acceptance(account=BOB, time=1002.0, version="2026-03", by="use"),
        Acceptance(account=ANN, time=1004.0, version="2026-05", by="use"),
        Acceptance(account=ANN, time=1006.0, version="2026-05", by="proxy")]


def test_two_processes_may_write_the_same_down(begin: Begin, keys: Custody, tmp_path: Path, clock: Clock) -> None:
    one, other = begin(), begin()
    other.accept(ANN, MARCH)
    clock.now += 1
    one.accept(ANN, MARCH)
    assert held(tmp_path, keys) == [Acceptance(account=ANN, time=1000.0, version="2026-03", by="use")]


def test_what_was_forgotten_is_written_again(begin: Begin, keys: Custody, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "ACCEPTED_KEPT", 2)
    writer = begin()
    for number in (1, 2, 3, 3, 2, 1):
        writer.accept(f"{number:016x}", MARCH)
    assert writer.size == 1 + 4
    writer.close()
    assert len(held(tmp_path, keys)) == 3


def test_no_marked_row_is_one_of_terms(begin: Begin, keys: Custody, tmp_path: Path) -> None:
    writer = begin()
    writer.accept(ANN, MARCH)
    writer.close()
    part, = reading.parts(tmp_path / "ledger", keys)
    assert list(part.opened()) == []


@pytest.mark.parametrize("place", [-1, -20])
def test_terms_that_were_changed_are_found(place: int, begin: Begin, keys: Custody, tmp_path: Path) -> None:
    writer = begin()
    writer.accept(ANN, MARCH)
    writer.close()
    path = tmp_path / "ledger" / "0000" / "payloads"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="the payload of record 1 was changed"):
        held(tmp_path, keys)
    with pytest.raises(LedgerError, match="the payload of record 1 was changed"):
        begin()

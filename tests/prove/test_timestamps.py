"""Timestamps of a real authority over HTTP; it may be down, lie, or answer for something else."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import Clock
from tests.prove import authority
from tests.prove.test_ledger import entry

from counterclone.errors import LedgerError
from counterclone.prove import timestamps
from counterclone.prove.commitments import Chain, Terms
from counterclone.prove.custody import Custody
from counterclone.prove.ledger import LedgerWriter
from counterclone.prove.reading import parts
from counterclone.prove.signed import read_signed
from counterclone.prove.timestamps import Authority, Roots, Stamp, Stamper, verified

TERMS = [Terms(model="m", epoch=str(number), marks=({"kind": "triggers"},)) for number in range(2)]
STAMP = Stamp(1772366405.0, "CN=test authority")


@pytest.fixture
def theirs() -> authority.Authority:
    return authority.Authority()


@pytest.fixture
def ours(theirs: authority.Authority, tmp_path: Path) -> Iterator[Authority]:
    with authority.listening(theirs) as url:
        yield Authority(url, roots_of(theirs, tmp_path))


def roots_of(theirs: authority.Authority, folder: Path) -> Roots:
    path = folder / "roots.pem"
    path.write_bytes(theirs.roots)
    return Roots.load(path)


@pytest.fixture
def keys(tmp_path: Path) -> Custody:
    keys = Custody.make(tmp_path / "keys")
    Chain(tmp_path / "keys", keys).commit(TERMS[0], 1.0)
    return keys


def test_what_was_stamped_is_verified_and_nothing_else(ours: Authority) -> None:
    content = ours.stamp(b"a message")
    assert verified(content, b"a message", ours.roots, "here") == STAMP
    with pytest.raises(LedgerError, match=r"here: no timestamp of this by an authority of .*roots\.pem"):
        verified(content, b"another", ours.roots, "here")
    for changed in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), b"", b"no DER"):
        with pytest.raises(LedgerError, match="no timestamp of this"):
            verified(changed, b"a message", ours.roots, "here")


def test_an_authority_must_lead_to_the_given_roots(ours: Authority, tmp_path: Path) -> None:
    others = roots_of(authority.Authority(), tmp_path)
    with pytest.raises(LedgerError, match="no timestamp of this"):
        verified(ours.stamp(b"a message"), b"a message", others, "here")


@pytest.mark.parametrize("content", [b"", b"no certificate", None])
def test_roots_that_are_none(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "roots.pem").write_bytes(content)
    with pytest.raises(LedgerError, match=r"roots\.pem: .*expected"):
        Roots.load(tmp_path / "roots.pem")


def test_an_authority_that_is_down_or_refuses(theirs: authority.Authority, ours: Authority) -> None:
    theirs.is_down = True
    with pytest.raises(LedgerError, match=r"/tsr: no timestamp \(it answered 503\); .* asked again later"):
        ours.stamp(b"a message")
    theirs.is_down, theirs.is_refusing = False, True
    with pytest.raises(LedgerError, match="/tsr: no timestamp of this"):
        ours.stamp(b"a message")
    with pytest.raises(LedgerError, match=r"no timestamp .*refused"):
        Authority("http://127.0.0.1:1/tsr", ours.roots).stamp(b"a message")


def test_an_old_answer_is_none(theirs: authority.Authority, ours: Authority) -> None:
    theirs.repeats = True
    ours.stamp(b"a message")
    with pytest.raises(LedgerError, match="Nonce mismatch"):
        ours.stamp(b"a message")


def test_each_commitment_is_stamped_once(theirs: authority.Authority, ours: Authority, keys: Custody,
                                         tmp_path: Path) -> None:
    folder, chain = tmp_path / "keys", Chain(tmp_path / "keys", keys)
    assert timestamps.stamp_commitments(folder, ours) == 1
    second = chain.commit(TERMS[1], 2.0)
    assert timestamps.of_commitment(folder, 2, second.signed, ours.roots) is None
    assert timestamps.stamp_commitments(folder, ours) == 1
    assert timestamps.stamp_commitments(folder, ours) == 0
    assert theirs.asked == 2
    assert [timestamps.of_commitment(folder, each.number, each.signed, ours.roots) for each in chain.all()] == [
        STAMP, STAMP]
    shutil.copy(folder / "commitments/000001.tsr", folder / "commitments/000002.tsr")
    with pytest.raises(LedgerError, match=r"000002\.tsr: no timestamp of this"):
        timestamps.of_commitment(folder, 2, second.signed, ours.roots)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl isn't installed")
def test_openssl_agrees_by_the_digest_alone(ours: Authority, keys: Custody, tmp_path: Path) -> None:
    timestamps.stamp_commitments(tmp_path / "keys", ours)
    digest = Chain(tmp_path / "keys", keys).all()[0].signed.digest
    path = tmp_path / "keys/commitments/000001.tsr"
    for asked, code in ((digest, 0), (digest[::-1], 1)):
        command = f"openssl ts -verify -digest {asked} -in {path} -CAfile {tmp_path / 'roots.pem'}".split()
        assert subprocess.run(command, capture_output=True, check=False).returncode == code


def test_the_last_head_of_a_part_is_stamped_once_a_day(ours: Authority, keys: Custody, tmp_path: Path,
                                                       clock: Clock) -> None:
    clock.now = time.time()
    commitment, = Chain(tmp_path / "keys", keys).all()
    writer = LedgerWriter(tmp_path / "ledger", keys, commitment, clock)
    part = tmp_path / "ledger" / "0000"
    assert timestamps.stamp_head(part, ours, clock.now)
    for number in range(3):
        writer.append([entry(number)])
    writer.sign_head()
    assert not timestamps.stamp_head(part, ours, clock.now + timestamps.HEAD_SECONDS - 60)
    with (part / "heads.jsonl").open("a") as file:  # half a head, as one is being written
        file.write('{"statement": "')
    assert timestamps.stamp_head(part, ours, clock.now + timestamps.HEAD_SECONDS + 60)
    assert not timestamps.stamp_head(part, ours, clock.now + 3 * timestamps.HEAD_SECONDS)  # it has one
    writer.close()
    read, = parts(tmp_path / "ledger", keys)
    kept = timestamps.of_heads(part, read.id, read.heads)
    assert sorted(kept) == [f"{read.id}-{size}.{kind}" for size in (1, 4) for kind in ("json", "tsr")]
    for size in (1, 4):
        statement = read_signed(kept[f"{read.id}-{size}.json"], "here").statement.encode()
        assert verified(kept[f"{read.id}-{size}.tsr"], statement, ours.roots, "here") == STAMP


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timestamps, "PAUSE_SECONDS", 0.01)


def waited_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


@pytest.mark.usefixtures("hurried")
def test_an_authority_that_was_down_is_asked_again(theirs: authority.Authority, ours: Authority, keys: Custody,
                                                   tmp_path: Path) -> None:
    commitment, = Chain(tmp_path / "keys", keys).all()
    LedgerWriter(tmp_path / "ledger", keys, commitment).close()
    theirs.is_down = True
    stamper = Stamper(ours, tmp_path / "keys", tmp_path / "ledger" / "0000")
    try:
        assert waited_for(lambda: stamper.last_error is not None)
        assert not (tmp_path / "keys/commitments/000001.tsr").exists()
        theirs.is_down = False
        stamp = tmp_path / "ledger/0000/stamps/1.tsr"
        assert waited_for(lambda: stamp.exists() and stamper.last_error is None)
    finally:
        stamper.close()
    assert sorted(os.listdir(tmp_path / "keys/commitments")) == ["000001.json", "000001.tsr"]


@pytest.mark.usefixtures("hurried")
def test_a_disk_that_is_full_is_said_and_tried_again(ours: Authority, keys: Custody, tmp_path: Path) -> None:
    commitment, = Chain(tmp_path / "keys", keys).all()
    LedgerWriter(tmp_path / "ledger", keys, commitment).close()
    (tmp_path / "ledger/0000/stamps").write_text("in the way")
    stamper = Stamper(ours, tmp_path / "keys", tmp_path / "ledger" / "0000")
    try:
        assert waited_for(lambda: stamper.last_error is not None)
        (tmp_path / "ledger/0000/stamps").unlink()
        assert waited_for(lambda: stamper.last_error is None)
    finally:
        stamper.close()

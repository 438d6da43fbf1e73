from __future__ import annotations

import json
import logging
import re
import resource
import stat
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from counterclone.errors import ConfigError
from counterclone.guard.keys import RELOAD_SECONDS, KeyRecord, KeyRing
from counterclone.randomness import Prf

if TYPE_CHECKING:
    from tests.conftest import Clock

PRF = Prf.from_secret("keys")
FORMAT = re.compile(r"(cc_live_[0-9a-f]{8})_([0-9a-f]{64})([0-9a-f]{8})")


@pytest.fixture(name="path")
def fixture_path(tmp_path: Path) -> Path:
    return tmp_path / "counterclone.keys.json"


def test_a_key_has_prefix_secret_and_checksum(path: Path) -> None:
    ring = KeyRing(path, PRF)
    keys = [ring.create("alice") for _ in range(20)]
    found = [FORMAT.fullmatch(key) for key in keys]
    for key, match in zip(keys, found, strict=True):
        assert match is not None
        assert len(bytes.fromhex(match[2])) * 8 == 256
        assert match[3] == f"{zlib.crc32(key[:-8].encode()):08x}"
    assert len({match[2] for match in found if match}) == 20


def test_a_key_is_found_and_listed(path: Path) -> None:
    ring = KeyRing(path, PRF)
    first, second = ring.create("alice"), ring.create("bob")
    assert [record.name for record in ring.records] == ["alice", "bob"]
    assert [ring.find(first), ring.find(second)] == ring.records
    assert first.startswith(ring.records[0].id + "_")
    assert ring.records[0].created <= ring.records[1].created


def test_keys_are_there_the_next_time(path: Path) -> None:
    key = KeyRing(path, PRF).create("alice")
    record = KeyRing(path, PRF).find(key)
    assert record is not None
    assert record.name == "alice"


def test_another_secret_knows_none_of_them(path: Path) -> None:
    key = KeyRing(path, PRF).create("alice")
    other = KeyRing(path, Prf.from_secret("other"))
    assert other.find(key) is None
    assert len(other.records) == 1


def test_the_file_has_hashes_only_and_is_its_owners(path: Path) -> None:
    ring = KeyRing(path, PRF)
    key = ring.create("alice")
    text = path.read_text()
    match = FORMAT.fullmatch(key)
    assert match is not None
    assert match[2] not in text
    assert match[2][:16] not in text
    assert json.loads(text) == [{"id": match[1], "name": "alice", "created": ring.records[0].created,
                                 "hash": PRF.digest(key.encode(), 32).hex()}]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_others_could_read_is_closed_by_the_next_key(path: Path) -> None:
    ring = KeyRing(path, PRF)
    ring.create("alice")
    path.chmod(0o644)
    ring.create("bob")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def mistypings(key: str) -> dict[str, str]:
    swapped = key[:20] + key[21] + key[20] + key[22:] if key[20] != key[21] else key[:20] + "-" + key[21:]
    return {"a letter": key[:30] + ("0" if key[30] != "0" else "1") + key[31:], "swapped": swapped,
            "short": key[:-1], "long": key + "0", "upper case": key.upper(), "no prefix": key[8:], "empty": "",
            "prefix only": "cc_live_", "not ASCII": key[:-9] + "\xff" + key[-8:]}


def test_a_mistyped_key_is_not_found(path: Path) -> None:
    ring = KeyRing(path, PRF)
    key = ring.create("alice")
    assert {how for how, wrong in mistypings(key).items() if ring.find(wrong)} == set()


def test_a_made_up_key_with_a_right_checksum_is_not_found(path: Path) -> None:
    ring = KeyRing(path, PRF)
    ring.create("alice")
    body = "cc_live_00000000_" + "0" * 64
    assert ring.find(body + f"{zlib.crc32(body.encode()):08x}") is None


# Others write the file meanwhile

def test_a_key_made_elsewhere_is_found_after_the_interval(path: Path, clock: Clock) -> None:
    ring = KeyRing(path, PRF, clock)
    key = KeyRing(path, PRF).create("alice")
    clock.now += 0.9 * RELOAD_SECONDS
    assert ring.find(key) is None
    clock.now += 0.1 * RELOAD_SECONDS
    assert ring.find(key) is not None
    assert [record.name for record in ring.records] == ["alice"]


def test_a_key_taken_out_is_refused_after_the_interval(path: Path, clock: Clock) -> None:
    ring = KeyRing(path, PRF, clock)
    gone, kept = ring.create("alice"), ring.create("bob")
    path.write_bytes(msgspec.json.encode([record for record in ring.records if record.name == "bob"]))
    clock.now += RELOAD_SECONDS
    assert ring.find(gone) is None
    assert ring.find(kept) is not None


def test_without_its_file_no_key_is_valid(path: Path, clock: Clock) -> None:
    ring = KeyRing(path, PRF, clock)
    key = ring.create("alice")
    path.unlink()
    clock.now += RELOAD_SECONDS
    assert ring.find(key) is None


def test_a_ring_keeps_what_others_made(path: Path) -> None:
    one, other = KeyRing(path, PRF), KeyRing(path, PRF)
    one.create("alice")
    other.create("bob")
    assert [record.name for record in other.records] == ["alice", "bob"]
    assert len(KeyRing(path, PRF).records) == 2


def test_a_file_damaged_meanwhile_leaves_the_keys_valid(path: Path, clock: Clock,
                                                        caplog: pytest.LogCaptureFixture) -> None:
    ring = KeyRing(path, PRF, clock)
    key = ring.create("alice")
    path.write_text("[{")
    clock.now += RELOAD_SECONDS
    with caplog.at_level(logging.ERROR):
        assert ring.find(key) is not None
    assert "the keys read before stay valid" in caplog.text
    assert key not in caplog.text


CREATE = """
import sys
from pathlib import Path
from counterclone.guard.keys import KeyRing
from counterclone.randomness import Prf
ring = KeyRing(Path(sys.argv[1]), Prf.from_secret("keys"))
print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    ring.create(f"{sys.argv[2]} {number}")
"""


def test_two_creators_at_once_lose_nothing(path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", CREATE, str(path), name], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE) for name in ("one", "two")]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=30)
        assert process.returncode == 0
    names = [record.name for record in KeyRing(path, PRF).records]
    assert sorted(names) == sorted(f"{name} {number}" for name in ("one", "two") for number in range(25))


# What can go wrong with the file

@pytest.mark.parametrize("data", [b"", b"{}", b"[{", b"\xff\xfe", b'["\xff"]', b"[" * 10_000, b'[{"id": 1}]',
                                  b'[{"id": "a", "name": "b", "created": 0, "hash": "c", "key": "d"}]'],
                         ids=["empty", "an object", "cut", "binary", "not UTF-8", "deep", "wrong fields",
                              "a field too many"])
def test_a_damaged_file_is_one_readable_line(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        KeyRing(path, PRF)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.endswith("; expected a key file that `counterclone keys create` made; restore it or move it "
                            "away")
    assert "\n" not in message


def test_a_damaged_file_is_not_written_over(path: Path) -> None:
    ring = KeyRing(path, PRF)
    path.write_text("[{")
    with pytest.raises(ConfigError, match="expected a key file"):
        ring.create("alice")
    assert path.read_text() == "[{"


def test_a_file_that_cannot_be_written_is_one_readable_line(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "keys.json"
    with pytest.raises(ConfigError) as caught:
        KeyRing(path, PRF).create("alice")
    assert caught.value.problems == (
        f"{path}: No such file or directory; keys can't be kept there, so none was made; make its folder writable "
        "or set [accounts] keys_file",)


def test_writing_leaves_nothing_half_done(path: Path) -> None:
    ring = KeyRing(path, PRF)
    ring.create("alice")
    before = path.stat().st_ino
    ring.create("bob")
    assert path.stat().st_ino != before  # another file in its place, not the same one written over
    assert {each.name for each in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}


def test_a_key_that_was_not_kept_leaves_nothing(path: Path) -> None:
    ring = KeyRing(path, PRF)
    ring.create("alice")
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))  # as if the disk were full
    try:
        with pytest.raises(ConfigError, match="File too large; keys can't be kept there, so none was made"):
            ring.create("bob")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [record.name for record in ring.records] == ["alice"]
    assert path.read_bytes() == before
    assert {each.name for each in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}


def test_a_record_is_frozen() -> None:
    record = KeyRecord(id="cc_live_00000000", name="alice", created=0.0, hash="00")
    with pytest.raises(AttributeError):
        record.name = "bob"  # type: ignore[misc]

"""Keys that one root gives, and a chain into which nothing can be slipped."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import msgspec
import pytest

from counterclone.errors import LedgerError
from counterclone.prove.commitments import Chain, Terms
from counterclone.prove.custody import Custody, is_signed, key_commitment
from counterclone.prove.signed import Signed

TERMS = [Terms(model="m", epoch=str(number), marks=({"kind": "triggers"},)) for number in range(3)]


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    chain = Chain(tmp_path, Custody.make(tmp_path))
    for terms in TERMS:
        chain.commit(terms, 1.0)
    return chain


def test_epoch_keys_are_hkdf_of_the_root(tmp_path: Path) -> None:
    keys = Custody.make(tmp_path)
    root = bytes.fromhex((tmp_path / "root.key").read_text())
    extracted = hmac.digest(bytes(32), root, "sha256")  # RFC 5869, sections 2.2 and 2.3
    assert keys.epoch_key(3) == hmac.digest(extracted, b"counterclone/epoch/1/3\x01", "sha256")
    assert len({keys.epoch_key(number) for number in range(20)}) == 20
    assert key_commitment(b"k") == hashlib.sha256(b"counterclone/key/1k").hexdigest()
    assert Custody.load(tmp_path).epoch_key(1) == keys.epoch_key(1)


def test_keys_are_not_made_twice(tmp_path: Path) -> None:
    Custody.make(tmp_path)
    with pytest.raises(LedgerError, match="there is a mark key already"):
        Custody.make(tmp_path)


@pytest.mark.parametrize(("content", "message"), [("", "isn't a mark key"), ("zz" * 32, "isn't a mark key"),
                                                  ("00" * 31, "isn't a mark key"), (None, "there is no mark key")])
def test_files_that_hold_no_key(content: str | None, message: str, tmp_path: Path) -> None:
    Custody.make(tmp_path)
    path = tmp_path / "root.key"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(LedgerError, match=message):
        Custody.load(tmp_path)


def test_signatures_are_of_one_key_and_one_message(tmp_path: Path) -> None:
    keys, others = Custody.make(tmp_path / "one"), Custody.make(tmp_path / "other")
    signature = keys.sign(b"message").hex()
    assert is_signed(keys.signer, b"message", signature)
    assert not is_signed(keys.signer, b"another", signature)
    assert not is_signed(others.signer, b"message", signature)
    assert not is_signed("not hexadecimal", b"message", signature)


def test_the_same_terms_stay_in_force(chain: Chain) -> None:
    assert [each.number for each in chain.all()] == [1, 2, 3]
    assert chain.in_force(TERMS[-1], 2.0).number == 3
    assert chain.in_force(TERMS[0], 2.0).number == 4


def test_each_commits_to_its_own_key(chain: Chain, tmp_path: Path) -> None:
    keys = Custody.load(tmp_path)
    for each in chain.all():
        assert each.statement.key == key_commitment(keys.epoch_key(each.number))


@pytest.mark.parametrize("number", [1, 2])
def test_a_commitment_that_was_taken_out_is_missed(number: int, chain: Chain, tmp_path: Path) -> None:
    (tmp_path / "commitments" / f"{number:06d}.json").unlink()
    with pytest.raises(LedgerError, match="without a gap"):
        chain.all()


def test_a_commitment_that_was_put_in_is_found(chain: Chain, tmp_path: Path) -> None:
    keys, folder = Custody.load(tmp_path), tmp_path / "commitments"
    second = chain.all()[1].statement
    forged = Signed.of(msgspec.structs.replace(second, terms=TERMS[0]), keys)
    (folder / "000002.json").write_bytes(msgspec.json.encode(forged))
    with pytest.raises(LedgerError, match="commitment 3 doesn't follow"):
        chain.all()


def test_a_changed_byte_is_found(chain: Chain, tmp_path: Path) -> None:
    path = tmp_path / "commitments" / "000002.json"
    content = path.read_bytes()
    for place in range(0, len(content) - 1, 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1:])
        with pytest.raises(LedgerError):
            chain.all()


def test_somebody_elses_chain(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="isn't signed by"):
        Chain(tmp_path, Custody.make(tmp_path / "others")).all()


def test_a_commitment_to_more_decoys_than_anybody_can_check_is_refused(chain: Chain) -> None:
    with pytest.raises(LedgerError, match="decoys"):
        chain.commit(Terms(model="m", epoch="more", marks=(), decoys=10**9), 2.0)

"""What is fixed before the first answer is served: numbered, signed, and chained to all that was fixed before."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from counterclone.errors import LedgerError
from counterclone.journal.archive import sync_folder
from counterclone.prove.custody import Custody, key_commitment, locked, unwritable
from counterclone.prove.signed import Signed, read_signed

FOLDER = "commitments"
SCHEME = 1
STATISTIC = ("Holm over the pooled test of each mark and over every account and campaign by the marked rows that "
             "only it was served; binomial over the suspect's answers that differ and over its second choices, "
             "the better doubled; with two labels hypergeometric over the answers that differ")
MAX_DECOYS = 100_000
"""Each costs who checks a dossier as much as the test itself."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a commitment fixes for the tests.

    Attributes:
        model: the target's name.
        epoch: of its release.
        marks: each with its options, as in the file.
        budget: queries that a suspect may be asked.
        alpha: the level of the verdict.
        decoys: decoy keys that are ranked.
        least_trials: marked rows of its own from which on an account is tested.
    """

    model: str
    epoch: str
    marks: tuple[Mapping[str, Any], ...]
    budget: Annotated[int, Meta(ge=1)] = 1_000_000
    alpha: Annotated[float, Meta(gt=0.0, le=1.0)] = 1e-6
    decoys: Annotated[int, Meta(ge=0, le=MAX_DECOYS)] = 999
    least_trials: Annotated[int, Meta(ge=0)] = 12


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a commitment says.

    Attributes:
        scheme: the version of keys, draws and records.
        number: 1 for the first; each has an epoch key of its own.
        previous: the digest of the statement before, "" of the first.
        created: seconds since 1970.
        key: the commitment to the epoch's key.
        statistic: the test, in words.
        terms: what is fixed.
        signer: the public key that signs this and the ledger's heads.
    """

    scheme: int
    number: int
    previous: str
    created: float
    key: str
    statistic: str
    terms: Terms
    signer: str


class Commitment(NamedTuple):
    """A commitment as it is signed, and what it says."""

    signed: Signed
    statement: Statement

    @property
    def number(self) -> int:
        """Its place in the chain."""
        return self.statement.number


class Chain:
    """The commitments of a folder of keys.

    Args:
        folder: of the keys.
        keys: theirs.
    """

    def __init__(self, folder: Path, keys: Custody) -> None:
        self._folder = folder / FOLDER
        self._keys = keys

    def all(self) -> list[Commitment]:
        """Every commitment, the first first; checked.

        Raises:
            LedgerError: one is missing, was changed, or isn't signed by these keys.
        """
        names = sorted(path.name for path in self._folder.glob("*.json")) if self._folder.exists() else []
        expected = [_name(number) for number in range(1, len(names) + 1)]
        if names != expected:
            odd = next(name for name, other in zip([*names, ""], [*expected, ""], strict=True) if name != other)
            raise LedgerError(f"{self._folder / odd}: commitments are numbered without a gap; one before it is "
                              "missing, or it is none; restore the folder from a copy")
        signed = [read_signed(_content(self._folder / name), str(self._folder / name)) for name in names]
        return checked(signed, self._keys.signer, str(self._folder))

    def commit(self, terms: Terms, now: float) -> Commitment:
        """Commit to the next epoch's key and to terms; on the disk when this returns.

        Raises:
            LedgerError: the chain is broken, or can't be written to.
        """
        with locked(self._folder):
            return self._commit(terms, now, self.all())

    def in_force(self, terms: Terms, now: float) -> Commitment:
        """The last commitment if it has these terms, else a new one.

        Raises:
            LedgerError: as for `commit`.
        """
        with locked(self._folder):
            chain = self.all()
            if chain and _same(chain[-1].statement.terms, terms):
                return chain[-1]
            return self._commit(terms, now, chain)

    def _commit(self, terms: Terms, now: float, chain: Sequence[Commitment]) -> Commitment:
        number = len(chain) + 1
        statement = Statement(
            scheme=SCHEME, number=number, previous=chain[-1].signed.digest if chain else "", created=now,
            key=key_commitment(self._keys.epoch_key(number)), statistic=STATISTIC, terms=terms,
            signer=self._keys.signer)
        signed = Signed.of(statement, self._keys)
        path = self._folder / _name(number)
        try:
            write_whole(path, msgspec.json.encode(signed) + b"\n")
        except OSError as error:
            raise unwritable(self._folder, error) from None
        return Commitment(signed, signed.read(Statement, str(path)))


def checked(signed: Sequence[Signed], signer: str, where: str) -> list[Commitment]:
    """A chain of commitments, the first first.

    Args:
        signed: as they were read.
        signer: the public key that signs all of them.
        where: they are from, for the message.

    Raises:
        LedgerError: one isn't signed by that key, or isn't the successor of the one before.
    """
    chain: list[Commitment] = []
    for number, each in enumerate(signed, start=1):
        place = f"{where}: commitment {number}"
        statement = each.read(Statement, place)
        if not each.is_by(signer) or statement.signer != signer:
            raise LedgerError(f"{place} isn't signed by the key {signer[:16]}…; it was changed, or is "
                              "somebody else's")
        if (statement.number, statement.scheme) != (number, SCHEME):
            raise LedgerError(f"{place} says that it is number {statement.number} of scheme "
                              f"{statement.scheme}; expected {number} of {SCHEME}")
        if statement.previous != (chain[-1].signed.digest if chain else ""):
            raise LedgerError(f"{place} doesn't follow the one before it; one was put in, changed or taken out")
        chain.append(Commitment(each, statement))
    return chain


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, whoever else does; on the disk when this returns.

    Raises:
        OSError: it can't be written.
    """
    whole = path.with_name(f"{path.name}.{os.getpid()}.new")
    with open(whole, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(whole, path)
    sync_folder(path.parent)


def _same(one: Terms, other: Terms) -> bool:
    return msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(other, order="deterministic")


def _name(number: int) -> str:
    return f"{number:06d}.json"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror or error}; expected a commitment; let it be read") from None

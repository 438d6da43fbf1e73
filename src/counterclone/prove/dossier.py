"""The evidence on one suspect in a file of its own, which others check without the owner's keys or ledger.

It reveals the key of one epoch, and of the ledger only the marked queries that were asked, and their controls; the
whole log of salted hashes goes in where the owner wants to show that no marked query was left out. Where marked
texts aren't in the ledger, a list of the owner's stands in the place of its records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from counterclone.errors import DossierError
from counterclone.prove.custody import Custody
from counterclone.prove.opened import Opened
from counterclone.prove.questions import Scope
from counterclone.prove.signed import Signed
from counterclone.prove.verification import Verdict

T = TypeVar("T")

COMMITMENTS, KEY, HEADS, ROWS, ANSWERS = "commitments.json", "key.json", "heads.json", "rows.json", "answers.json"
TERMS, TEST, VERDICT, MANIFEST = "terms.json", "test.json", "verdict.json", "manifest.json"
TEXTS, TOKENS = "texts.jsonl", "tokens.json"
LOG_PREFIX, STAMP_PREFIX, MARK_PREFIX = "log/", "timestamps/", "mark/"


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The key of the commitment that was tested under.

    Attributes:
        commitment: its number.
        key: the epoch's key, in hexadecimal.
    """

    commitment: int
    key: str


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record of the ledger with what opens it, and what shows that the ledger holds it.

    Attributes:
        ledger: the part that it is in.
        index: its number there.
        record: 118 bytes, in hexadecimal.
        salt: of its hashes, likewise.
        payload: as it was sealed.
        path: from its leaf to the root of the part's head, each in hexadecimal.
    """

    ledger: str
    index: int
    record: str
    salt: str
    payload: str
    path: tuple[str, ...]

    def opened(self) -> Opened:
        """The record with what opens it."""
        return Opened(self.ledger, self.index, bytes.fromhex(self.record), bytes.fromhex(self.salt),
                      self.payload.encode())


class Answered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the suspect answered to one query.

    Attributes:
        cell: the canonical query, in hexadecimal.
        scores: (classes,); none of a suspect that writes.
        text: what it wrote.
    """

    cell: str
    scores: tuple[float, ...] = ()
    text: str = ""


class Tokens(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a test of tokens counts, for those who haven't the tokenizer.

    Attributes:
        prompts: that the suspect was asked, in this order.
        answers: of the suspect.
        references: each text of the owner's model, and of a public one, as far as the test needs them.
    """

    prompts: list[list[int]]
    answers: list[list[int]]
    references: list[list[list[int]]]


class Trial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the suspect was tested.

    Attributes:
        version: of counterclone.
        suspect: its name.
        basis: on what ground it was asked.
        began: seconds since 1970.
        ended: likewise.
        scope: what was decided before the first question.
    """

    version: str
    suspect: str
    basis: str
    began: float
    ended: float
    scope: Scope


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the dossier holds.

    Attributes:
        files: the SHA-256 of each other file, in hexadecimal.
    """

    files: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Dossier:
    """What a verdict is computed from.

    Attributes:
        commitments: all, the first first.
        key: of the one that was tested under.
        heads: the last of each part that rows are from.
        rows: the records of every query that was asked.
        terms: the records of what the named accounts accepted.
        answers: of the suspect, by mark, in the order that they were asked in.
        trial: how it was tested.
        verdict: what was found.
        logs: whole parts of the log, by their ids, where the owner shows them.
        stamps: timestamps as an authority sent them, and the heads of the log that some are of, by their names.
        texts: the owner's list of marked texts, as JSON lines; without one the test is of the ledger.
        tokens: of the texts, where these are what is tested.
        mark_files: that the mark needs, by its options.
    """

    commitments: Sequence[Signed]
    key: Key
    heads: Sequence[Signed]
    rows: Sequence[Row]
    terms: Sequence[Row]
    answers: Mapping[str, Sequence[Answered]]
    trial: Trial
    verdict: Verdict
    logs: Mapping[str, bytes] = field(default_factory=dict)
    stamps: Mapping[str, bytes] = field(default_factory=dict)
    texts: bytes = b""
    tokens: Tokens | None = None
    mark_files: Mapping[str, bytes] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """Each part as a file."""
        parts = {COMMITMENTS: self.commitments, KEY: self.key, HEADS: self.heads, ROWS: self.rows,
                 TERMS: self.terms, ANSWERS: self.answers, TEST: self.trial, VERDICT: self.verdict}
        files = {name: _encoded(content) for name, content in parts.items()}
        if self.texts:
            files[TEXTS] = self.texts
        if self.tokens is not None:
            files[TOKENS] = msgspec.json.encode(self.tokens)
        folders = {LOG_PREFIX: self.logs, STAMP_PREFIX: self.stamps, MARK_PREFIX: self.mark_files}
        for prefix, below in folders.items():
            files |= {prefix + name: content for name, content in below.items()}
        return files

    @classmethod
    def parse(cls, files: Mapping[str, bytes]) -> Dossier:
        """The dossier of some files, its parts not yet compared with each other.

        Raises:
            DossierError: one is missing, or isn't what it should be.
        """
        return cls(
            commitments=_decoded(files, COMMITMENTS, list[Signed]), key=_decoded(files, KEY, Key),
            heads=_decoded(files, HEADS, list[Signed]), rows=_decoded(files, ROWS, list[Row]),
            terms=_decoded(files, TERMS, list[Row]),
            answers=_decoded(files, ANSWERS, dict[str, list[Answered]]), trial=_decoded(files, TEST, Trial),
            verdict=_decoded(files, VERDICT, Verdict),
            logs=_below(LOG_PREFIX, files), stamps=_below(STAMP_PREFIX, files),
            texts=files.get(TEXTS, b""), tokens=_decoded(files, TOKENS, Tokens) if TOKENS in files else None,
            mark_files=_below(MARK_PREFIX, files))


def with_manifest(files: Mapping[str, bytes], keys: Custody) -> dict[str, bytes]:
    """The files with a signed list of them."""
    listed = Manifest({name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)})
    return {**files, MANIFEST: _encoded(Signed.of(listed, keys))}


def listed(files: Mapping[str, bytes]) -> tuple[Signed, Manifest]:
    """The manifest as it is signed, and what it lists.

    Raises:
        DossierError: there is none.
    """
    signed = _decoded(files, MANIFEST, Signed)
    try:
        return signed, msgspec.json.decode(signed.statement, type=Manifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DossierError(f"{MANIFEST}: {error}; the dossier was changed; get it again") from None


def _below(prefix: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name.removeprefix(prefix): content for name, content in files.items() if name.startswith(prefix)}


def _encoded(content: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"


def _decoded(files: Mapping[str, bytes], name: str, kind: type[T]) -> T:
    if name not in files:
        raise DossierError(f"{name} is missing; expected it in a dossier; get it again")
    try:
        return msgspec.json.decode(files[name], type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DossierError(f"{name}: {error}; the dossier was changed; get it again") from None

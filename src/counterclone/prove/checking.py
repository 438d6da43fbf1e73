"""A dossier computed again by somebody who trusts nothing but the file and the commitment."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import hashlib
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from counterclone.errors import CountercloneError, DossierError, LedgerError, TargetError
from counterclone.evidence import Evidence
from counterclone.protocols import Target
from counterclone.prove import commitments, timestamps, verification
from counterclone.prove.commitments import Commitment
from counterclone.prove.custody import key_commitment
from counterclone.prove.dossier import MANIFEST, Dossier, listed
from counterclone.prove.ground import Check, Ground
from counterclone.prove.ledger import Head
from counterclone.prove.ledger_ground import LedgerGround, root_of
from counterclone.prove.records import FORMAT
from counterclone.prove.signed import Signed, read_signed
from counterclone.prove.text_ground import TextGround
from counterclone.prove.timestamps import Roots
from counterclone.prove.transcript import Replay
from counterclone.prove.verification import Question, Verdict

LEVEL = 0.05
"""Independent models that fit the key better than this, all together, say that the queries were chosen to fit."""
TOLERANCE = 1e-9
"""Figures agree up to this share: libraries round tails differently."""
NOTHING = 1e-200
"""Below it libraries round tails to nothing."""
TOLERANCE_OF_BOUNDS = 1e-4
"""Where they may be bounds that were searched for: every one that is found holds, the least isn't met exactly."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What came out.

    Attributes:
        holds: whether everything did as the dossier says, whatever its verdict is.
        checks: one by one, up to the first that makes the others impossible.
        verdict: as the dossier states it, None where it can't be read.
        commitment: `given` where the reader brought it, else `enclosed`.
        commitment_digest: SHA-256 of the statement that was tested under.
    """

    holds: bool
    checks: tuple[Check, ...]
    verdict: Verdict | None
    commitment: str
    commitment_digest: str


def check(files: Mapping[str, bytes], given: Signed | None, independent: Sequence[Target] = (),
          roots: Roots | None = None) -> Verification:
    """Compute a dossier again.

    Args:
        files: the dossier's.
        given: the commitment as its reader got it before, None to use the enclosed one.
        independent: models that certainly never saw an answer, to be asked the same queries.
        roots: that the authority of its timestamps must lead to, None to leave these unchecked.

    Raises:
        TargetError: one of these doesn't answer as it should.
    """
    checks: list[Check] = []
    verdict, digest = None, ""
    try:
        dossier = Dossier.parse(files)
        verdict = dossier.verdict
        with tempfile.TemporaryDirectory(prefix="counterclone-") as folder:
            checking = _Checking(files, dossier, given, Path(folder))
            digest = checking.commitment.signed.digest
            checks.extend(checking.all(independent, roots))
    except TargetError:
        raise
    except (CountercloneError, ValueError, KeyError, TypeError, IndexError) as error:
        where = "" if isinstance(error, CountercloneError) else "something isn't of the right form: "
        checks.append(Check("the rest", False, f"{where}{error}"))
    return Verification(
        holds=all(each.holds for each in checks), checks=tuple(checks), verdict=verdict,
        commitment="enclosed" if given is None else "given", commitment_digest=digest)


class _Checking:
    """The checks of one dossier.

    Args:
        files: its files.
        dossier: what they say.
        given: the commitment that its reader has.
        folder: an empty one.

    Raises:
        DossierError: there is no commitment with its number.
    """

    def __init__(self, files: Mapping[str, bytes], dossier: Dossier, given: Signed | None, folder: Path) -> None:
        self._files, self._dossier, self._given = files, dossier, given
        if not 1 <= dossier.key.commitment <= len(dossier.commitments):
            raise DossierError(f"there is no commitment {dossier.key.commitment} among the "
                               f"{len(dossier.commitments)} enclosed ones")
        signed = dossier.commitments[dossier.key.commitment - 1]
        self.commitment = Commitment(signed, signed.read(commitments.Statement, "commitments.json"))
        self._key = bytes.fromhex(dossier.key.key)
        self._ground: Ground = (TextGround(dossier, self.commitment, self._key, folder) if dossier.texts
                                else LedgerGround(dossier, self.commitment, self._key))

    def all(self, independent: Sequence[Target], roots: Roots | None) -> Iterator[Check]:
        """Each check in turn."""
        yield self._manifest()
        yield self._chain()
        yield self._same_commitment()
        if roots is not None:
            yield self._timestamps(roots)
        yield self._epoch_key()
        yield from self._ground.checks()
        replays = {question.kind: Replay(self._dossier.answers.get(question.kind, ()))
                   for question in self._ground.questions}
        evidence = self._evidence(replays)
        yield self._figures(evidence)
        yield from self._ground.beyond(evidence, replays)
        if independent:
            yield _peculiar(self._ground.questions, independent)

    def _manifest(self) -> Check:
        signed, manifest = listed(self._files)
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in self._files.items()
                   if name != MANIFEST}
        odd = sorted(name for name in digests.keys() | manifest.files.keys()
                     if digests.get(name) != manifest.files.get(name))
        if odd:
            return Check("files", False, f"changed, missing or added: {', '.join(odd)}")
        return Check("files", signed.is_by(self.commitment.statement.signer),
                     f"{len(digests)} files are those that the owner signed")

    def _chain(self) -> Check:
        try:
            chain = commitments.checked(self._dossier.commitments, self.commitment.statement.signer, "the dossier")
        except LedgerError as error:
            return Check("commitments", False, str(error))
        return Check("commitments", True, f"{len(chain)}, each signed and chained to the one before")

    def _same_commitment(self) -> Check:
        digest = self.commitment.signed.digest
        if self._given is None:
            return Check("the commitment", True, "the enclosed one was used. Nothing here shows that it was made "
                         f"before the suspect: compare its digest {digest} with one that was published or timed")
        if self._given.digest != digest:
            return Check("the commitment", False, f"the given one has digest {self._given.digest}, the enclosed "
                         f"one {digest}: this dossier is of another commitment")
        return Check("the commitment", True, "the enclosed one is the given one")

    def _timestamps(self, roots: Roots) -> Check:
        """What an authority says of the commitment, and of heads of the log that is enclosed."""
        name, stamps = timestamps.name_of(self.commitment.number), self._dossier.stamps
        if name not in stamps:
            return Check("timestamps", False, "none of the commitment is enclosed; ask the owner for it")
        try:
            said = [("the commitment", self.commitment.signed, name)]
            said += [self._stamped_head(place) for place in stamps if place.endswith(timestamps.HEAD_SUFFIX)]
            found = [(what, timestamps.verified(stamps[stamp], signed.statement.encode(), roots, stamp))
                     for what, signed, stamp in said]
        except LedgerError as error:
            return Check("timestamps", False, str(error))
        return Check("timestamps", True, "; ".join(
            f"{what} existed at {_time(stamp.time)}, says {stamp.authority}" for what, stamp in found))

    def _stamped_head(self, name: str) -> tuple[str, Signed, str]:
        """A head in words, itself and its timestamp's name, once it is clear that the enclosed log has it.

        Raises:
            LedgerError: it hasn't.
        """
        signed = read_signed(self._dossier.stamps[name], name)
        head = signed.read(Head, name)
        content = self._dossier.logs.get(head.ledger, b"")[:head.size * FORMAT.size]
        if not signed.is_by(self.commitment.statement.signer) or root_of(content) != (head.size, head.root):
            raise LedgerError(f"the log of ledger {head.ledger} isn't the one whose head of {head.size} records "
                              "has a timestamp")
        stamp = name.removesuffix(timestamps.HEAD_SUFFIX) + timestamps.SUFFIX
        return f"the first {head.size:,} records of ledger {head.ledger}", signed, stamp

    def _epoch_key(self) -> Check:
        holds = key_commitment(self._key) == self.commitment.statement.key
        return Check("key", holds, f"the revealed key is {'' if holds else 'NOT '}the one committed to")

    def _evidence(self, replays: Mapping[str, Replay]) -> list[Evidence]:
        found = []
        for question in self._ground.questions:
            replay = replays[question.kind]
            found += asyncio.run(verification.examine([question], replay))
            if replay.n_left:
                raise DossierError(f"{replay.n_left} answers are to no query that the key puts")
        return found

    def _figures(self, evidence: Sequence[Evidence]) -> Check:
        trial, claimed = self._dossier.trial, self._dossier.verdict
        again = verification.verdict(
            self._ground.questions, evidence, suspect=trial.suspect, commitment=self.commitment.number,
            least_trials=trial.scope.least_trials(self.commitment.statement), basis=trial.basis)
        odd = differences(msgspec.to_builtins(claimed), {**msgspec.to_builtins(again), "dossier": claimed.dossier},
                          TOLERANCE_OF_BOUNDS if self._dossier.texts else TOLERANCE)
        if odd:
            return Check("figures", False, "computed again, these are others: " + "; ".join(odd))
        rank = "none" if again.p_decoy is None else f"{again.p_decoy:.3g}"
        return Check("figures", True, f"{again.verdict.replace('-', ' ')}: p = {again.p_value:.3g} corrected for "
                     f"{again.tested} tests, e = {again.e_value:.3g}, rank among decoys {rank}")


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _peculiar(asked: Sequence[Question], models: Sequence[Target]) -> Check:
    """Whether models that are independent beyond doubt meet the key: then somebody who knew it chose queries."""
    p_values = []
    for model in models:
        for question in asked:
            case = dataclasses.replace(question.case, decoys=0, stops_early=False)
            found = asyncio.run(verification.examine([dataclasses.replace(question, case=case)], model))
            p_values += [each.p_value for each in found]
    smallest = min(1.0, min(p_values, default=1.0) * len(p_values))
    is_fine = smallest > LEVEL
    text = f"{len(models)} were asked the same queries: p = {smallest:.3g}, corrected for all of them"
    return Check("independent models", is_fine,
                 text if is_fine else f"{text}; they meet the key as well, so the queries were chosen to fit")


def differences(one: Mapping[str, Any], other: Mapping[str, Any], tolerance: float = TOLERANCE) -> list[str]:
    """The figures in which two verdicts differ, in words; numbers that aren't whole may by a share of them."""
    return [f"{name} {one.get(name)!r}, not {other.get(name)!r}" for name in sorted(one.keys() | other.keys())
            if not _is_same(one.get(name), other.get(name), tolerance)]


def _is_same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=NOTHING)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_is_same, one, other, [tolerance] * len(one)))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[name], other[name], tolerance) for name in one)
    return bool(one == other)

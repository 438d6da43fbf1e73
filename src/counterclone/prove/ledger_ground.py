"""A dossier's records of the ledger, checked against its signed heads and the key's draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np

from counterclone.evidence import Evidence, Role
from counterclone.protocols import Watermark
from counterclone.prove import verification
from counterclone.prove.commitments import Commitment
from counterclone.prove.dossier import Dossier, Row
from counterclone.prove.ground import Check
from counterclone.prove.ledger import Head
from counterclone.prove.merkle import Frontier, includes, leaf_hash
from counterclone.prove.opened import Opened, is_canonical
from counterclone.prove.questions import questions
from counterclone.prove.records import DTYPE, FORMAT, Kind
from counterclone.prove.transcript import Replay
from counterclone.prove.verification import Question


class LedgerGround:
    """The marked queries that were asked, and their controls.

    Args:
        dossier: that holds them.
        commitment: that they were served under.
        key: of its epoch.
    """

    def __init__(self, dossier: Dossier, commitment: Commitment, key: bytes) -> None:
        self._dossier, self._commitment, self._key = dossier, commitment, key
        self._rows = [row.opened() for row in dossier.rows]
        self._heads = {head.ledger: (signed, head) for signed in dossier.heads
                       for head in [signed.read(Head, "heads.json")]}

    @cached_property
    def questions(self) -> Sequence[Question]:
        """One for each mark."""
        return questions(self._commitment.statement, self._key, self._rows, self._dossier.trial.scope)

    def checks(self) -> Iterator[Check]:
        """The records, and the key's draw."""
        yield self._ledger()
        yield self._terms()
        yield self._queries()
        yield self._draws()

    def beyond(self, evidence: Sequence[Evidence], replays: Mapping[str, Replay]) -> Iterator[Check]:
        """With the whole log, marked queries that may have been left out count as misses."""
        yield self._omissions(evidence)

    def _ledger(self) -> Check:
        signer = self._commitment.statement.signer
        unsigned = [ledger for ledger, (signed, _) in self._heads.items() if not signed.is_by(signer)]
        if unsigned:
            return Check("ledger", False, f"the head of ledger {unsigned[0]} isn't signed by the owner")
        seen = set()
        for row, opened in zip(self._dossier.rows, self._rows, strict=True):
            place = (row.ledger, row.index)
            problem = "is there twice" if place in seen else self._problem(row, opened, Kind.ANSWER)
            if problem:
                return Check("ledger", False, f"record {row.index} of ledger {row.ledger} {problem}")
            seen.add(place)
        return Check("ledger", True, f"{len(self._rows)} records open to what they were sealed with, and are in "
                     "the tree of a signed head")

    def _terms(self) -> Check:
        said = []
        for row in self._dossier.terms:
            opened = row.opened()
            problem = self._problem(row, opened, Kind.TERMS)
            if problem:
                return Check("terms", False, f"record {row.index} of ledger {row.ledger} {problem}")
            accepted = opened.accepted()
            said.append(f"account {opened.account} accepted {accepted.version} (by {accepted.by})")
        return Check("terms", True, "; ".join(said) or "no acceptance is enclosed")

    def _problem(self, row: Row, opened: Opened, kind: Kind) -> str:
        if row.ledger not in self._heads:
            return "has no head"
        _, head = self._heads[row.ledger]
        if opened.kind != kind or (kind is Kind.ANSWER and opened.commitment != self._commitment.number):
            return "isn't of an answer under this commitment" if kind is Kind.ANSWER else "isn't of accepted terms"
        if not opened.is_whole():
            return "doesn't open to this query and answer"
        path = [bytes.fromhex(each) for each in row.path]
        if not includes(bytes.fromhex(head.root), head.size, opened.index, leaf_hash(opened.record), path):
            return "isn't in the signed tree"
        return ""

    def _queries(self) -> Check:
        odd = [row.index for row in self._rows if not is_canonical(row.read())]
        if odd:
            return Check("queries", False, f"record {odd[0]}: the key's draw was made for another query")
        return Check("queries", True, "each is the one that the key's draw was made for")

    def _draws(self) -> Check:
        n_rows = 0
        for question in self.questions:
            served = question.case.served
            if not hasattr(question.mark, "embed"):
                continue
            mark = cast(Watermark, question.mark)
            embedded = mark.embed(question.case.key, served.cells, np.eye(served.classes)[served.truths])
            drawn = np.where(embedded.roles == Role.MARKED, embedded.rows.argmax(axis=1), served.truths)
            odd = np.flatnonzero((embedded.roles != served.roles) | (drawn != served.labels))
            if len(odd):
                return Check("draws", False, f"the key draws another mark for {served.cells[odd[0]].hex()[:16]}…")
            n_rows += len(served)
        return Check("draws", True, f"the key draws these marks and labels for all {n_rows} queries")

    def _omissions(self, evidence: Sequence[Evidence]) -> Check:
        logs = self._dossier.logs
        if logs.keys() != self._heads.keys():
            return Check("omissions", True, "can't be ruled out: the log isn't enclosed whole, so marked queries "
                         "that the suspect fails may have been left out")
        n_answers = 0
        for name, content in logs.items():
            head = self._heads[name][1]
            if root_of(content) != (head.size, head.root):
                return Check("omissions", False, f"the log of ledger {name} isn't the one of its signed head")
            records = np.frombuffer(content, dtype=DTYPE)
            n_answers += int(((records["kind"] == Kind.ANSWER)
                              & (records["commitment"] == self._commitment.number)).sum())
        return Check("omissions", True, "; ".join(
            _counted(question, each, n_answers) for question, each in zip(self.questions, evidence, strict=True)))


def root_of(log: bytes) -> tuple[int, str]:
    """The size of a log, and the root of the tree over it."""
    frontier = Frontier()
    for start in range(0, len(log), FORMAT.size):
        frontier.append(log[start:start + FORMAT.size])
    return frontier.size, frontier.root().hex()


def _counted(question: Question, evidence: Evidence, n_answers: int) -> str:
    rate: Any = getattr(question.mark, "rate", None)
    if rate is None or question.case.stops_early:
        return f"{question.kind}: no bound"
    n_shown = int((question.case.served.roles == Role.MARKED).sum())
    p = verification.with_hidden(evidence, n_shown, n_answers, float(rate), question.case.alpha)
    return (f"{question.kind}: {n_shown} marked queries of {n_answers:,} answers were shown; if all that the rate "
            f"allows besides were left out and failed, p = {p:.3g}")

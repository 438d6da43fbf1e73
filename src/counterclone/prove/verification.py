"""A suspect under test: every mark and every account at once, corrected for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from counterclone import statistics
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.evidence import Evidence, Rank, Role, Served
from counterclone.protocols import Case, Mark, Target
from counterclone.prove.opened import Opened
from counterclone.prove.pooling import pooled

DECOY_GATE = 0.05
"""A decoy rank above this blocks the verdict: the scoring would find a copy in anything."""


class AccountFinding(msgspec.Struct, frozen=True, kw_only=True):
    """An account, or a campaign, that the marks lead to.

    Attributes:
        account: its id, or several joined by "+".
        p_adjusted: corrected for everything that was tested.
    """

    account: str
    p_adjusted: float


class MarkFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One mark over all accounts.

    Attributes:
        kind: the mark's.
        p_value: over all rows, not corrected; 1/e where it might have stopped early.
        trials: answers that could have matched.
        hits: those that did.
    """

    kind: str
    p_value: float
    trials: int
    hits: int


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a suspect's answers prove.

    Attributes:
        suspect: its name.
        commitment: the number of the commitment that was tested under.
        verdict: `proven` where the headline reaches alpha and the decoys don't object.
        finding: in a sentence.
        p_value: the headline: the smallest of all tests, corrected for all of them (Holm).
        p_decoy: the rank among decoy keys on the same answers, None where no answer told anything.
        e_value: the mean over all tests, which is an e-value again.
        alpha: the level.
        queries: that the suspect answered.
        power: the chance that a student which took up half of the marks had been proven.
        tested: how many tests the headline is corrected for.
        basis: on what ground the suspect was asked, "" for a callable.
        accounts: those that are significant.
        marks: each over all accounts.
        dossier: where the evidence was written, None where it wasn't.
        fingerprints: how the suspect ranks among independent models; they decide nothing.
        pool: the numbers of the commitments that were tested together, none where it was one.
    """

    suspect: str
    commitment: int
    verdict: Literal["proven", "not-proven"]
    finding: str
    p_value: float
    p_decoy: float | None
    e_value: float
    alpha: float
    queries: int
    power: float
    tested: int
    basis: str
    accounts: tuple[AccountFinding, ...]
    marks: tuple[MarkFinding, ...]
    dossier: str | None = None
    fingerprints: tuple[Rank, ...] = ()
    pool: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Question:
    """One mark with what is tested.

    Attributes:
        kind: the mark's.
        mark: asks the suspect.
        case: what was served, and how far the test goes.
        records: of all that was served, as the ledger has them.
    """

    kind: str
    mark: Mark
    case: Case
    records: tuple[Opened, ...] = ()


class _Test(NamedTuple):
    account: str
    p_value: float
    e_value: float


def names_tested(served: Sequence[Served], least: int) -> frozenset[str]:
    """The accounts that have so many marked rows of their own that they are tested; fixed by the ledger alone.

    Args:
        served: under each commitment that is tested.
        least: how many.
    """
    own: dict[str, int] = {}
    for each in served:
        for accounts, role in zip(each.accounts, each.roles.tolist(), strict=True):
            if len(accounts) == 1 and role == Role.MARKED:
                own[accounts[0]] = own.get(accounts[0], 0) + 1
    return frozenset(name for name, n_rows in own.items() if n_rows >= least)


async def examine(questions: Sequence[Question], suspect: Target) -> list[Evidence]:
    """Ask the suspect, a mark after the other.

    Raises:
        TargetError: it can't be reached, or what it answers isn't what it promised.
    """
    found = []
    for question in questions:
        evidence = await drive(question.mark.verify(question.case), suspect, Meter(question.case.budget))
        if evidence is not None:
            found.append(evidence)
    return found


def verdict(questions: Sequence[Question], evidence: Sequence[Evidence], *, suspect: str, commitment: int,
            least_trials: int, basis: str = "", pool: Sequence[int] = ()) -> Verdict:
    """Everything that was tested in one verdict.

    Args:
        questions: what was tested; those of one mark under several commitments together.
        evidence: of each.
        suspect: its name.
        commitment: the number of the commitment, the last of several.
        least_trials: marked rows of its own from which on an account is tested.
        basis: on what ground it was asked.
        pool: the numbers of several commitments that were tested together.
    """
    alpha = min(question.case.alpha for question in questions)
    tests: list[_Test] = []
    marks: list[Evidence] = []
    for cases, each in _by_mark(questions, evidence):
        marks.append(each)
        tests.append(_Test("", each.p_value, each.e_value))
        if cases[0].stops_early:  # exact p-values are those of a budget that is spent in any case
            continue
        tested = names_tested([case.served for case in cases], least_trials)
        tested |= {"+".join(sorted(campaign)) for campaign in cases[0].campaigns}
        tests += [_Test(one.account, one.p_value, one.e_value) for one in each.accounts if one.account in tested]
    adjusted = statistics.holm([test.p_value for test in tests])
    accounts = tuple(AccountFinding(account=test.account, p_adjusted=float(p))
                     for test, p in zip(tests, adjusted, strict=True) if test.account and p <= alpha)
    decoys = [each.p_decoy for each in marks if each.p_decoy is not None]
    p_decoy, headline = min(decoys, default=None), float(adjusted.min())
    is_proven = headline <= alpha and p_decoy is not None and p_decoy <= DECOY_GATE
    power = max(each.power for each in marks)
    finding = _finding(accounts, power, is_proven=is_proven, is_pool=bool(pool))
    return Verdict(
        suspect=suspect, commitment=commitment, verdict="proven" if is_proven else "not-proven",
        finding=finding, p_value=headline, p_decoy=p_decoy,
        e_value=float(np.mean([test.e_value for test in tests])), alpha=alpha,
        queries=sum(each.queries for each in marks), power=power, tested=len(tests), basis=basis,
        accounts=tuple(sorted(accounts, key=lambda each: each.p_adjusted)) if is_proven else (),
        marks=tuple(MarkFinding(kind=each.kind, p_value=each.p_value, trials=each.trials, hits=each.hits)
                    for each in marks), pool=tuple(pool))


def _by_mark(questions: Sequence[Question], evidence: Sequence[Evidence]) -> Iterator[tuple[list[Case], Evidence]]:
    """What each mark tells, under all commitments that it was tested under."""
    both = list(zip(questions, evidence, strict=True))
    for kind in dict.fromkeys(question.kind for question in questions):
        found = [(question.case, each) for question, each in both if question.kind == kind]
        yield [case for case, _ in found], pooled([each for _, each in found])


def with_hidden(evidence: Evidence, n_shown: int, n_answers: int, rate: float, alpha: float) -> float:
    """The pooled p-value where marked queries that may have been left out count as misses, for a test at `alpha`.

    More than `most_hits` of so many answers were marked with a chance of half the level; the p-value is doubled
    for that, and doubled for the two readings of an answer.

    Args:
        evidence: of the queries that were shown.
        n_shown: how many marked ones.
        n_answers: that were served, repeated queries included.
        rate: of the mark.
        alpha: the level.
    """
    hidden = max(statistics.most_hits(n_answers, rate, alpha / 2) - n_shown, 0)
    return min(1.0, 4.0 * statistics.binomial_tail(evidence.hits, evidence.trials + hidden, evidence.null_rate))


def unmarked(suspect: str, alpha: float, basis: str) -> Verdict:
    """That nothing can be proven, since nothing was marked."""
    return Verdict(
        suspect=suspect, commitment=0, verdict="not-proven", p_value=1.0, p_decoy=None, e_value=1.0, alpha=alpha,
        finding="Nothing was marked, so nothing can be proven; fingerprints tell a rank and no more.", queries=0,
        power=0.0, tested=0, basis=basis, accounts=(), marks=())


def _finding(accounts: Sequence[AccountFinding], power: float, *, is_proven: bool, is_pool: bool) -> str:
    if not is_proven:
        return ("Not proven, which is no acquittal: a student that took up half of the marks would have been "
                f"proven with a chance of {power:.1%}; one that took up fewer may go unseen.")
    if not accounts:
        these = "these commitments" if is_pool else "this commitment"
        return f"The suspect was trained on answers that were served under {these}; to whom isn't told."
    names = " and ".join(each.account for each in accounts)
    return (f"The suspect was trained on answers served to account {names}. That tells where the answers went, "
            "not who trained the suspect.")

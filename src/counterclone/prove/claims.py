"""What a lawyer asks of evidence: which elements of a claim it supports, which it leaves open. No legal advice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from counterclone.prove.verification import Verdict

Standing = Literal["held", "in part", "missing"]


class Element(msgspec.Struct, frozen=True):
    """One thing that a claim takes.

    Attributes:
        text: what has to be shown.
        standing: whether this dossier shows it.
        evidence: where, or what else it takes.
    """

    text: str
    standing: Standing
    evidence: str


class Claim(msgspec.Struct, frozen=True):
    """A ground that courts know, in general words.

    Attributes:
        name: of the claim.
        elements: what it takes.
    """

    name: str
    elements: tuple[Element, ...]


class Measure(msgspec.Struct, frozen=True):
    """A setting of the guard while marked answers were served.

    Attributes:
        since: when it came into force, seconds since 1970.
        digest: of the whole configuration.
        text: what it restricts.
    """

    since: float
    digest: str
    text: str


def claims(verdict: Verdict, terms: Sequence[str], measures: Sequence[Measure], *,
           in_ledger: bool = True) -> tuple[Claim, ...]:
    """The claims that a copied model may give, with what this dossier holds for each.

    Args:
        verdict: what was found.
        terms: the terms that the named accounts accepted, in words.
        measures: that were in force.
        in_ledger: whether the ledger holds what was served, rather than a list of the owner's.
    """
    return (_terms(verdict, terms, in_ledger=in_ledger), _secret(verdict, measures), _copyright(verdict))


def _trained(verdict: Verdict) -> Element:
    text = "The suspect model was trained on answers of this service."
    if verdict.verdict != "proven":
        return Element(text, "missing", "The test didn't prove it: see the figures, and the power of the test.")
    return Element(text, "held", f"p = {verdict.p_value:.2g}, see the figures above. It tells that the answers "
                   "were trained on, not by whom.")


def _served(verdict: Verdict, *, in_ledger: bool) -> Element:
    text = "These answers were served to a known account."
    if not verdict.accounts:
        return Element(text, "missing", "No account stands out: each was served too few marked answers that "
                       "nobody else was, or all had the same key.")
    names = ", ".join(each.account for each in verdict.accounts)
    source = "records of the ledger" if in_ledger else "the owner's own list of texts"
    return Element(text, "in part", f"Account {names}, by {source}. Accounts are pseudonyms: who is "
                   "behind one is in the owner's customer records.")


WHO = Element("The defendant trained the suspect, and used the account.", "missing",
              "Nothing in this file tells who did. Contracts, payments, logs and witnesses may.")


def _terms(verdict: Verdict, terms: Sequence[str], *, in_ledger: bool) -> Claim:
    accepted = Element("The account's holder accepted terms that forbid training on answers.",
                       "in part" if terms else "missing",
                       f"By the ledger: {'; '.join(terms)}. The text of the terms isn't in this file." if terms
                       else "This file holds no acceptance; the ledger, a contract or a sign-up log may.")
    return Claim("Breach of the terms of use", (
        accepted, _served(verdict, in_ledger=in_ledger), _trained(verdict), WHO,
        Element("Damage followed.", "missing", "Costs of the original, lost sales, what the copy is used for.")))


def _secret(verdict: Verdict, measures: Sequence[Measure]) -> Claim:
    kept = Element("The owner took reasonable measures to keep it secret.", "held" if measures else "missing",
                   "Settings of the guard that were in force are listed below, with their times."
                   if measures else "No settings of the guard are known from the time of these answers.")
    return Claim("Misappropriation of a trade secret", (
        Element("The model's behaviour is a secret of commercial value.", "missing",
                "What training it cost, and that nobody else has it."),
        kept,
        Element("It was acquired by improper means.", "missing",
                "Queries within published limits may be proper. Breached terms, many accounts for one purpose, or "
                "evaded limits speak for it: see the guard's journal and alarms."),
        _trained(verdict), WHO))


def _copyright(verdict: Verdict) -> Claim:
    return Claim("Infringement of copyright", (
        Element("The answers, or the collection of them, are protected.", "missing",
                "Contested for answers of a machine, and different in each country."),
        Element("The defendant had access.", "in part" if verdict.accounts else "missing",
                "To what the named account was served." if verdict.accounts else "No account is named."),
        Element("Protected expression was reproduced.", "missing",
                "The finding is that a model learnt from answers, not that it repeats them."),
        _trained(verdict), WHO))

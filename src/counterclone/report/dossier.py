"""A dossier's page, for those who decide, and what came out when one was checked."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TextIO

from counterclone.prove.checking import Verification
from counterclone.prove.claims import Claim, Measure
from counterclone.prove.commitments import Commitment
from counterclone.prove.dossier import Dossier
from counterclone.report.page import Table, html_page, print_table
from counterclone.report.prove import table as verdict_table

LINE = b"\n"
METHOD = (
    ("before", "The service changed a few answers, chosen by a secret key, and wrote down which. A fingerprint of "
     "the key, the rules of this test and the level were signed before the first answer was served."),
    ("test", "The suspect was asked the same questions. A model that never saw the answers agrees with a changed "
     "one as often as somebody who guesses; how often that happens by chance is computed, not estimated."),
    ("correction", "Every account was tested, and the figure is corrected for all of them."),
    ("control", "The same answers were compared with keys that were never used. If these did as well, the test "
     "would have been void."))
METHOD_OF_TEXTS = (
    ("before", "The service made a few words likelier than others, chosen by a secret key, or wrote a few texts "
     "another way. A fingerprint of the key, the rules of this test and the level were signed beforehand."),
    ("test", "The suspect was asked prompts that the service had answered, in an order that the key draws. How "
     "often texts of a model that never saw the marked ones have as much of what the key chose, by chance, is "
     "computed or bounded, and not estimated."),
    *METHOD[2:])
LIMITS = (
    "The p-value is how often a model that has nothing to do with the key does as well. It isn't the probability "
    "that somebody is innocent.",
    "The finding is about where training data came from. It doesn't tell who trained the suspect, whether it was "
    "allowed, or how the answers got there: they may have been published, sold or stolen.",
    "The suspect's answers are in this file as its maker received them. Whoever doubts them asks the suspect "
    "again: the queries and their order are in the file.",
    "The times are those of the owner's clock where no timestamp of an authority is beside them. That the "
    "commitment is older than the suspect is shown by a copy of it, or of its digest, that somebody else has held "
    "since.",
    "Not legal advice.")
LIMIT_OF_TEXTS = (
    "The ledger of the service doesn't hold these texts. The list of prompts and accounts is the owner's own: "
    "which key the suspect's texts have follows from the commitment, whom that key was used for is the list's "
    "word, and prompts may have been left out of it.")


def page(dossier: Dossier, commitment: Commitment, grounds: Sequence[Claim], measures: Sequence[Measure]) -> str:
    """The page of a dossier, as HTML."""
    trial, verdict = dossier.trial, dossier.verdict
    lead = (f"{verdict.finding} Tested on {_day(trial.began)} with counterclone {trial.version}, under commitment "
            f"{commitment.number} of {_day(commitment.statement.created)}, SHA-256 {commitment.signed.digest}.")
    return html_page(f"Evidence on {verdict.suspect}: {verdict.verdict.replace('-', ' ')}", lead, [
        verdict_table(verdict), _method(is_of_texts=bool(dossier.texts)), *map(_claim, grounds),
        _measures(measures), _kept(dossier)])


def show(verification: Verification, file: TextIO) -> None:
    """Print what came out."""
    notes = ["Everything computes as the dossier says." if verification.holds
             else "The dossier doesn't hold: don't rely on it."]
    verdict, digest = verification.verdict, verification.commitment_digest
    if verdict is not None:
        notes.append(f"Its verdict: {verdict.verdict.replace('-', ' ')}. {verdict.finding}")
    rows = tuple((check.name, "holds" if check.holds else "FAILS", check.text) for check in verification.checks)
    print_table(Table(caption=f"Checked again, with the {verification.commitment} commitment {digest[:16]}…",
                      heads=("", "", ""), rows=rows, notes=tuple(notes), is_prose=True), file)


def _method(*, is_of_texts: bool) -> Table:
    rows, notes = (METHOD_OF_TEXTS, (LIMIT_OF_TEXTS, *LIMITS)) if is_of_texts else (METHOD, LIMITS)
    return Table(caption="How it was found", heads=("", ""), rows=rows, notes=notes, is_prose=True)


def _claim(claim: Claim) -> Table:
    return Table(caption=f"{claim.name}: what this evidence supports", heads=("what it takes", "here", "evidence"),
                 rows=tuple((each.text, each.standing, each.evidence) for each in claim.elements), is_prose=True)


def _measures(measures: Sequence[Measure]) -> Table:
    rows = tuple((_day(each.since), each.text, each.digest[:16]) for each in measures)
    return Table(caption="Measures in place while these answers were served",
                 heads=("since", "settings", "configuration"), rows=rows or (("", "none is recorded", ""),),
                 is_prose=True)


def _kept(dossier: Dossier) -> Table:
    return Table(
        caption="What the file holds", heads=("", ""), is_prose=True,
        rows=(*(_texts(dossier) if dossier.texts else _records(dossier)),
              ("answers of the suspect", f"{sum(map(len, dossier.answers.values())):,}"),
              ("commitments", f"{len(dossier.commitments)}, each chained to the one before")),
        notes=("`counterclone verify` computes everything again; check_dossier.py does so with Python and numpy "
               "alone, for triggers and green lists.",))


def _records(dossier: Dossier) -> tuple[tuple[str, str], ...]:
    times = [row.opened().time for row in dossier.rows]
    return (("records of the ledger", f"{len(times):,}, served from {_day(min(times))} to {_day(max(times))}"),
            ("whole log", "enclosed" if dossier.logs else "not enclosed: omissions can't be ruled out"))


def _texts(dossier: Dossier) -> tuple[tuple[str, str], ...]:
    return (("marked texts", f"{dossier.texts.count(LINE):,}, by the owner's list: prompts and accounts"),
            ("files of the mark", ", ".join(dossier.mark_files) or "none"))


def _day(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")

"""The file's keys, commitments and ledger to a test of a suspect."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from counterclone import config as configuration
from counterclone.compose import dossier, fingerprints, suspects, texts
from counterclone.compose.guard import HISTORY_FILE
from counterclone.compose.marks import committed_terms
from counterclone.compose.resuming import resumed
from counterclone.config import Config
from counterclone.errors import ConfigError, LedgerError
from counterclone.evidence import Evidence, Rank
from counterclone.prove import reading, verification
from counterclone.prove.commitments import Chain, Commitment
from counterclone.prove.custody import Custody
from counterclone.prove.dossier import Answered
from counterclone.prove.questions import Scope, questions
from counterclone.prove.transcript import Transcript
from counterclone.prove.verification import Question, Verdict
from counterclone.targets.local import Predict


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says.

    Attributes:
        suspect: `pkg.mod:function`, a URL, or a callable itself.
        journal: the folder beside which the ledger is; [prove] ledger where left out.
        commitment: its number, the last one that marks were served under where left out.
        pools: whether all commitments are tested together.
        accounts: that alone are tested, fixed beforehand; all where left out.
        campaigns: accounts that are tested together, fixed beforehand, each with commas between them.
        basis: on what ground a URL is asked.
        stops_early: whether the test ends as soon as it can.
        dossier: where the evidence is written, None for nowhere.
        with_log: whether the whole log goes in.
        texts: what a marked server wrote, as JSON lines; a suspect that writes texts is tested by it, not by the
            ledger.
        model: the suspect's name, where its URL has several models.
        by_probabilities: whether a suspect of marked texts tells what comes next, rather than writes.
    """

    suspect: str | Predict
    journal: Path | None = None
    commitment: int | None = None
    pools: bool = False
    accounts: Sequence[str] = ()
    campaigns: Sequence[str] = ()
    basis: str = ""
    stops_early: bool = False
    dossier: Path | None = None
    with_log: bool = False
    texts: Path | None = None
    model: str = ""
    by_probabilities: bool = False


def prove(options: Options, config_file: str | None, say: Callable[[str], None]) -> Verdict:
    """Test a suspect.

    Raises:
        ConfigError: there is no such suspect or commitment, or a URL is asked without a ground.
        LedgerError: keys, commitments or ledger don't hold together.
        TargetError: the suspect doesn't answer as it should.
        TargetUnreachable: it doesn't answer.
    """
    if options.texts is not None:
        if options.with_log:
            raise ConfigError("--with-log: the ledger doesn't hold texts; leave it out, or --texts")
        return texts.prove(options.suspect, options.texts, config_file, say, commitment=options.commitment,
                           scope=_scope(options), basis=options.basis, model=options.model,
                           by_probabilities=options.by_probabilities, evidence_file=options.dossier)
    if options.by_probabilities:
        raise ConfigError("--probabilities: compares a language model with that of a green list; add --texts")
    path = configuration.find(config_file)
    config, folder = configuration.load(path), path.parent
    suspects.check_basis(options.suspect, options.basis)
    _check_pool(options)
    compared = fingerprints.comparisons(config, folder)
    name = suspects.name_of(options.suspect)
    if compared and not committed_terms(config).marks:
        unmarked = verification.unmarked(name, config.prove.alpha, options.basis)
        return _ranked(unmarked, options, config, compared, say)
    keys = Custody.load(folder / config.prove.keys)
    chain = Chain(folder / config.prove.keys, keys).all()
    ledger = folder / config.prove.ledger
    if options.journal is not None:
        ledger = options.journal.parent / ledger.name
    parts = reading.parts(ledger, keys)
    tested = _questions(options, keys, chain, parts, ledger)
    commitment, asked = tested[-1][0], [question for _, questions in tested for question in questions]
    n_rows = sum(len(question.case.served) for question in asked)
    numbers = [each.number for each, _ in tested]
    under = ", ".join(map(str, numbers))
    say(f"prove: {n_rows:,} marked queries and controls under commitment {under}; asking the suspect")
    began = time.time()
    evidence, answers = asyncio.run(_examined(options, config, asked, folder, say))
    scope = _scope(options)
    verdict = verification.verdict(
        asked, evidence, suspect=name, commitment=commitment.number,
        least_trials=scope.least_trials(commitment.statement), basis=options.basis,
        pool=numbers if options.pools else ())
    if options.dossier is None:
        return _ranked(verdict, options, config, compared, say)
    verdict = msgspec.structs.replace(verdict, dossier=str(options.dossier))
    dossier.write(options.dossier, dossier.Tested(
        keys=keys, chain=chain, commitment=commitment, parts=parts, asked=asked, answers=answers, scope=scope,
        verdict=verdict, began=began, ended=time.time(), folder=folder / config.prove.keys),
        folder / HISTORY_FILE, with_log=options.with_log)
    return _ranked(verdict, options, config, compared, say)


def _ranked(verdict: Verdict, options: Options, config: Config, compared: Sequence[fingerprints.Comparison],
            say: Callable[[str], None]) -> Verdict:
    """The verdict with the ranks of fingerprints beside it, which neither change it nor go into a dossier."""
    if not compared:
        return verdict

    async def asked() -> tuple[Rank, ...]:
        async with suspects.reached(options.suspect, config, say) as suspect:
            return await fingerprints.ranks(compared, suspect, config.prove.budget)

    return msgspec.structs.replace(verdict, fingerprints=asyncio.run(asked()))


def _questions(options: Options, keys: Custody, chain: Sequence[Commitment], parts: Sequence[reading.Part],
               ledger: Path) -> list[tuple[Commitment, list[Question]]]:
    """The commitments that are tested under, the first first, and a question for each of their marks.

    Raises:
        ConfigError: there is no such commitment, or nothing was served under it.
    """
    if not chain:
        raise LedgerError("there is no commitment, so nothing was marked; put [[mark]] into the file and run "
                          "the guard")
    tested: list[tuple[Commitment, list[Question]]] = []
    for commitment in reversed(chain):
        if options.commitment in (None, commitment.number) and (options.pools or not tested):
            rows = reading.served_under(parts, commitment.number)
            found = questions(commitment.statement, keys.epoch_key(commitment.number), rows, _scope(options))
            if found:
                tested.insert(0, (commitment, found))
    if tested:
        return tested
    named = "any commitment" if options.commitment is None else f"commitment {options.commitment}"
    whom = f" to {', '.join(options.accounts)}" if options.accounts else ""
    raise ConfigError(f"{ledger}: nothing marked was served{whom} under {named} (there are {len(chain)}); "
                      "`counterclone watch` lists the accounts")


def _check_pool(options: Options) -> None:
    """That what is tested over all commitments isn't asked for one.

    Raises:
        ConfigError: it is.
    """
    if not options.pools:
        return
    if options.commitment is not None:
        raise ConfigError("--pool tests under all commitments; leave --commitment out")
    if options.stops_early:
        raise ConfigError("--pool spends the budget of each commitment; leave --stop-early out")
    if options.dossier is not None:
        raise ConfigError("--pool: a dossier shows the key of one commitment; leave --dossier out, or --pool")


def _scope(options: Options) -> Scope:
    return Scope(accounts=tuple(options.accounts), campaigns=tuple(map(_campaign, options.campaigns)),
                 stops_early=options.stops_early)


def _campaign(text: str) -> tuple[str, ...]:
    """The accounts of `ID,ID`.

    Raises:
        ConfigError: there are fewer than two.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if len(names) < 2:
        raise ConfigError(f"--campaign {text}: expected two accounts or more, with commas between them")
    return names


async def _examined(options: Options, config: Config, asked: Sequence[Question], folder: Path,
                    say: Callable[[str], None]) -> tuple[list[Evidence], dict[str, list[Answered]]]:
    """The evidence of each mark, and the suspect's answers that it is from; a URL's outlast a failure."""
    evidence: list[Evidence] = []
    answers: dict[str, list[Answered]] = {}
    async with contextlib.AsyncExitStack() as stack:
        writes = any("text" in question.mark.needs for question in asked)
        suspect = await stack.enter_async_context(suspects.reached(
            options.suspect, config, say, returns="texts" if writes else "scores", model=options.model))
        if isinstance(options.suspect, str) and suspects.is_url(options.suspect) and not writes:
            suspect = stack.enter_context(resumed(suspect, options.suspect, folder, say))
        for question in asked:
            transcript = Transcript(suspect)
            evidence += await verification.examine([question], transcript)
            answers[question.kind] = transcript.answers
    return evidence, answers

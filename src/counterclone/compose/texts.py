"""The texts that a server marked to a test of a suspect that writes texts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal

import msgspec

from counterclone import config as configuration
from counterclone import plugins
from counterclone.compose import dossier, suspects
from counterclone.compose.guard import HISTORY_FILE
from counterclone.errors import ConfigError
from counterclone.evidence import Evidence
from counterclone.marks.greenlist import Greenlist
from counterclone.protocols import Target
from counterclone.prove import questions, verification, written
from counterclone.prove.commitments import Chain, Commitment
from counterclone.prove.custody import Custody, mark_key
from counterclone.prove.dossier import Tokens
from counterclone.prove.questions import Scope
from counterclone.prove.text_ground import is_held, tokens
from counterclone.prove.transcript import Transcript
from counterclone.prove.verification import Question, Verdict
from counterclone.prove.written import Lines, TextMark
from counterclone.targets.local import Predict


def prove(suspect: str | Predict, exchanges: Path, config_file: str | None, say: Callable[[str], None], *,
          commitment: int | None = None, scope: Scope | None = None, basis: str = "", model: str = "",
          by_probabilities: bool = False, evidence_file: Path | None = None) -> Verdict:
    """Test a suspect.

    Args:
        suspect: `pkg.mod:function` or a function, a list of prompts to a list of texts; or a URL, the route for
            completions or chats of a server as OpenAI's. By probabilities, a function of contexts to the
            log-probabilities of the next token: (contexts, tokens).
        exchanges: what the marked server answered, as JSON lines: accounts and prompts.
        config_file: the file whose keys and commitments these are.
        say: is told what happens.
        commitment: the number of the one that is tested under, the last with a green list where left out.
        scope: how far the test goes.
        basis: on what ground a URL is asked.
        model: the suspect's name, where its URL has several models.
        by_probabilities: whether the suspect tells what comes next, rather than writes.
        evidence_file: where a dossier is written, None for nowhere.

    Raises:
        ConfigError: there is no such suspect, commitment or file, or a URL is asked without a ground.
        LedgerError: keys or commitments don't hold together.
        TargetError: the suspect doesn't answer as it should.
    """
    scope = scope or Scope()
    suspects.check_basis(suspect, basis)
    path = configuration.find(config_file)
    config, folder = configuration.load(path), path.parent
    keys = Custody.load(folder / config.prove.keys)
    chain = Chain(folder / config.prove.keys, keys).all()
    found, mark = _found(chain, commitment)
    mark = _opened(mark) if by_probabilities else mark
    statement, key = found.statement, keys.epoch_key(found.number)
    lines = _listed(exchanges, mark, scope.accounts)
    served = written.served(lines, mark, mark_key(key, plugins.kind_of(mark)), f"--texts {exchanges}")
    question = questions.question(statement, key, mark, served, scope)
    if evidence_file is not None and not is_held(mark):
        raise ConfigError("--dossier: doesn't hold a suspect's probabilities, which are too many; leave it "
                          "out, or test the suspect by its texts")
    say(f"prove: {len(served):,} marked texts under commitment {statement.number}; asking the suspect")

    began = time.time()
    returns: Literal["texts", "logits"] = "logits" if _is_open(mark) else "texts"
    transcript, evidence = asyncio.run(_examined(question, suspects.reached(
        suspect, config, say, returns=returns, model=model), is_kept=evidence_file is not None))
    verdict = verification.verdict(
        [question], evidence, suspect=suspects.name_of(suspect), commitment=statement.number,
        least_trials=scope.least_trials(statement), basis=basis)
    if evidence_file is None:
        return verdict
    verdict = msgspec.structs.replace(verdict, dossier=str(evidence_file))
    dossier.write(evidence_file, dossier.Tested(
        keys=keys, chain=chain, commitment=found, parts=(), asked=[question],
        answers={question.kind: transcript.answers}, scope=scope, verdict=verdict, began=began, ended=time.time(),
        folder=folder / config.prove.keys, texts=written.encoded(lines), tokens=_tokens(mark, transcript),
        mark_files=_files(mark)), folder / HISTORY_FILE, with_log=False)
    return verdict


async def _examined(question: Question, reached: AbstractAsyncContextManager[Target], *,
                    is_kept: bool) -> tuple[Transcript, list[Evidence]]:
    async with reached as target:
        transcript = Transcript(target)
        return transcript, await verification.examine([question], transcript if is_kept else target)


def _tokens(mark: TextMark, transcript: Transcript) -> Tokens | None:
    return tokens(mark, transcript.asked, transcript.answers) if isinstance(mark, Greenlist) else None


def _files(mark: TextMark) -> dict[str, bytes]:
    """What others need to compute the test, which is why the commitment has its digest."""
    paths = mark.files if isinstance(mark, Greenlist) else {}
    return {option: Path(path).read_bytes() for option, path in paths.items()}


def _found(chain: Sequence[Commitment], number: int | None) -> tuple[Commitment, TextMark]:
    for commitment in reversed(chain):
        mark = written.mark_of(commitment.statement)
        if mark is not None and number in (None, commitment.number):
            return commitment, mark
    raise ConfigError(f"--texts: there is no commitment{f' {number}' if number else ''} with a green list or "
                      "canaries; `counterclone keys marks` makes one before any text is marked")


def _opened(mark: TextMark) -> Greenlist:
    if not isinstance(mark, Greenlist):
        raise ConfigError("--probabilities: canaries are read in texts; leave it out")
    return mark.opened()


def _is_open(mark: TextMark) -> bool:
    return isinstance(mark, Greenlist) and mark.test == "open"


def _listed(path: Path, mark: TextMark, accounts: Sequence[str]) -> Lines:
    """What was written for some accounts, or all.

    Raises:
        ConfigError: it can't be read, or nothing is left.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--texts {path}: {error.strerror or error}; expected what the marked server "
                          "wrote") from None
    return written.read(content, mark, accounts, f"--texts {path}")

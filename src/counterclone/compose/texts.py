"""The texts that a server marked to a test of a suspect that writes texts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from counterclone import config as configuration
from counterclone import plugins
from counterclone.compose import suspects
from counterclone.errors import ConfigError
from counterclone.evidence import Evidence
from counterclone.prove import questions, verification, written
from counterclone.prove.commitments import Chain, Commitment
from counterclone.prove.custody import Custody, mark_key
from counterclone.prove.questions import Scope
from counterclone.prove.verification import Verdict
from counterclone.prove.written import Lines, TextMark
from counterclone.targets.local import Predict


def prove(suspect: str | Predict, exchanges: Path, config_file: str | None, say: Callable[[str], None], *,
          commitment: int | None = None, scope: Scope | None = None, basis: str = "",
          model: str = "") -> Verdict:
    """Test a suspect.

    Args:
        suspect: `pkg.mod:function` or a function, a list of prompts to a list of texts; or a URL, the route for
            completions or chats of a server as OpenAI's.
        exchanges: what the marked server answered, as JSON lines: accounts and prompts.
        config_file: the file whose keys and commitments these are.
        say: is told what happens.
        commitment: the number of the one that is tested under, the last with a green list where left out.
        scope: how far the test goes.
        basis: on what ground a URL is asked.
        model: the suspect's name, where its URL has several models.

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
    found, mark = _found(Chain(folder / config.prove.keys, keys).all(), commitment)
    statement, key = found.statement, keys.epoch_key(found.number)
    lines = _listed(exchanges, mark, scope.accounts)
    served = written.served(lines, mark, mark_key(key, plugins.kind_of(mark)), f"--texts {exchanges}")
    question = questions.question(statement, key, mark, served, scope)
    say(f"prove: {len(served):,} marked texts under commitment {statement.number}; asking the suspect")

    async def asked() -> list[Evidence]:
        async with suspects.reached(suspect, config, say, returns="texts", model=model) as target:
            return await verification.examine([question], target)

    return verification.verdict([question], asyncio.run(asked()), suspect=suspects.name_of(suspect),
                                commitment=statement.number, least_trials=scope.least_trials(statement),
                                basis=basis)


def _found(chain: Sequence[Commitment], number: int | None) -> tuple[Commitment, TextMark]:
    for commitment in reversed(chain):
        mark = written.mark_of(commitment.statement)
        if mark is not None and number in (None, commitment.number):
            return commitment, mark
    raise ConfigError(f"--texts: there is no commitment{f' {number}' if number else ''} with a green list or "
                      "canaries; `counterclone keys marks` makes one before any text is marked")


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

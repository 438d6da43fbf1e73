"""The texts that a server marked to a test of a suspect that writes texts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from counterclone import config as configuration
from counterclone import plugins
from counterclone.compose import callables, canaries
from counterclone.errors import ConfigError
from counterclone.evidence import Served
from counterclone.marks.canaries import Canaries
from counterclone.marks.greenlist import Greenlist
from counterclone.prove import questions, verification
from counterclone.prove.commitments import Chain, Commitment
from counterclone.prove.custody import Custody, mark_key
from counterclone.prove.questions import Scope
from counterclone.prove.verification import Verdict
from counterclone.targets.local import Local, Predict


class _Prompt(msgspec.Struct, frozen=True):
    text: str


class _Exchange(msgspec.Struct, frozen=True):
    """A line of what was served; what else an exchange has isn't read."""

    account: str
    query: _Prompt


class _Found(NamedTuple):
    commitment: Commitment
    kind: str
    mark: Greenlist | Canaries


def prove(suspect: str | Predict, exchanges: Path, config_file: str | None, say: Callable[[str], None], *,
          commitment: int | None = None, scope: Scope | None = None) -> Verdict:
    """Test a suspect.

    Args:
        suspect: `pkg.mod:function` or a function, a list of prompts to a list of texts.
        exchanges: what the marked server answered, as JSON lines: accounts and prompts.
        config_file: the file whose keys and commitments these are.
        say: is told what happens.
        commitment: the number of the one that is tested under, the last with a green list where left out.
        scope: how far the test goes.

    Raises:
        ConfigError: there is no such suspect, commitment or file.
        LedgerError: keys or commitments don't hold together.
        TargetError: the suspect doesn't answer as it should.
    """
    scope = scope or Scope()
    if isinstance(suspect, str) and "://" in suspect:
        raise ConfigError(f"--texts: {suspect} is a URL; expected pkg.mod:function; wrap the URL's client in one "
                          "that takes a list of prompts and returns a list of texts")
    path = configuration.find(config_file)
    config, folder = configuration.load(path), path.parent
    keys = Custody.load(folder / config.prove.keys)
    found = _found(Chain(folder / config.prove.keys, keys).all(), commitment)
    statement = found.commitment.statement
    key = keys.epoch_key(statement.number)
    own_key = mark_key(key, found.kind)
    served = (canaries.served(exchanges, found.mark, own_key, scope.accounts) if isinstance(found.mark, Canaries)
              else _served(exchanges, scope.accounts))
    question = questions.question(statement, key, found.mark, served, scope)
    say(f"prove: {len(served):,} marked texts under commitment {statement.number}; asking the suspect")
    name = suspect if isinstance(suspect, str) else getattr(suspect, "__name__", "suspect")
    if isinstance(suspect, str):
        suspect = callables.named(suspect, "SUSPECT", "generate")
    local = Local(suspect, returns="texts", seconds=config.target.answer_seconds)
    try:
        evidence = asyncio.run(verification.examine([question], local))
    finally:
        local.close()
    return verification.verdict([question], evidence, suspect=name, commitment=statement.number,
                                least_trials=scope.least_trials(statement))


def _found(chain: Sequence[Commitment], number: int | None) -> _Found:
    for commitment in reversed(chain):
        for table in commitment.statement.terms.marks:
            mark = plugins.build("marks", dict(table), f"commitment {commitment.number}")
            if isinstance(mark, Greenlist | Canaries) and number in (None, commitment.number):
                return _Found(commitment, plugins.kind_of(mark), mark)
    raise ConfigError(f"--texts: there is no commitment{f' {number}' if number else ''} with a green list or "
                      "canaries; `counterclone keys marks` makes one before any text is marked")


def _served(path: Path, accounts: Sequence[str]) -> Served:
    """What was written for whom, of some accounts or all.

    Raises:
        ConfigError: it can't be read, or nothing is left.
    """
    try:
        lines = msgspec.json.Decoder(_Exchange).decode_lines(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"--texts {path}: {error}; expected exchanges as JSON lines, each with `account` and "
                          "`query.text`") from None
    kept = [line for line in lines if not accounts or line.account in accounts]
    if not kept:
        raise ConfigError(f"--texts {path}: holds no text of {', '.join(accounts) or 'anybody'}; name the file "
                          "with what the marked server answered")
    return Served.of_texts([line.query.text for line in kept], [line.account for line in kept])

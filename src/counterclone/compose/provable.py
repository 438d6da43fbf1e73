"""What a configuration committed to, and what could be proven by what was served."""

from __future__ import annotations

from pathlib import Path

from counterclone.compose import mark_keys
from counterclone.compose.in_place import tables
from counterclone.compose.marks import committed_terms
from counterclone.config import Config
from counterclone.posture import Epoch
from counterclone.prove import reading
from counterclone.prove.commitments import Chain
from counterclone.prove.custody import ROOT_FILE, Custody
from counterclone.prove.outlook import Outlook, outlook
from counterclone.prove.questions import Scope, questions


def is_marking(config: Config, folder: Path) -> bool:
    """Whether there are mark keys, or should be."""
    return bool(committed_terms(config).marks) or (folder / config.prove.keys / ROOT_FILE).exists()


def epochs(path: Path) -> tuple[Epoch, ...]:
    """The commitments of a configuration's file, the first first.

    Raises:
        ConfigError: the file has mistakes.
        LedgerError: there are no keys, the chain is broken, or a timestamp is none.
    """
    return tuple(Epoch(number=each.number, created=each.created, digest=each.digest, marks=tables(each.marks),
                       timestamp=each.timestamp) for each in mark_keys.commitments(str(path)))


def outlooks(config: Config, folder: Path) -> tuple[Outlook, ...]:
    """What the ledger's marked rows are good for, the first commitment first.

    Raises:
        LedgerError: keys, commitments or ledger aren't there, or don't hold together.
    """
    keys = Custody.load(folder / config.prove.keys)
    chain = Chain(folder / config.prove.keys, keys).all()
    parts = reading.parts(folder / config.prove.ledger, keys)
    rows = [opened for part in parts for opened in part.opened()]
    return tuple(
        outlook(question, commitment.statement) for commitment in chain
        for question in questions(commitment.statement, keys.epoch_key(commitment.number),
                                  [row for row in rows if row.commitment == commitment.number], Scope()))

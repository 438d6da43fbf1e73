"""What a marked server wrote, as its own list says: whom each text was for, and which prompt it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from counterclone import plugins
from counterclone.errors import ConfigError
from counterclone.evidence import Served
from counterclone.marks.canaries import Canaries
from counterclone.marks.greenlist import Greenlist
from counterclone.prove.commitments import Statement
from counterclone.queries import canonical_value
from counterclone.randomness import Prf

T = TypeVar("T")
TextMark = Greenlist | Canaries


class Text(msgspec.Struct, frozen=True):
    """A prompt or an answer."""

    text: str


class Exchange(msgspec.Struct, frozen=True):
    """A text whose tokens carry a mark; what else an exchange has isn't read.

    Attributes:
        account: whom it was written for.
        query: the prompt.
    """

    account: str
    query: Text


class Canary(msgspec.Struct, frozen=True):
    """A finished text that was written another way.

    Attributes:
        account: whom it was served to.
        query: the prompt.
        answer: what was served.
        own: what the model had written.
        time: seconds since 1970.
    """

    account: str
    query: Text
    answer: Text
    own: Text
    time: float = 0.0


Lines = Sequence[Exchange] | Sequence[Canary]


def mark_of(statement: Statement) -> TextMark | None:
    """The first mark of a commitment that texts carry, None where there is none.

    Raises:
        ConfigError: the commitment has a mark that this version doesn't know.
    """
    for table in statement.terms.marks:
        mark = plugins.build("marks", dict(table), f"commitment {statement.number}")
        if isinstance(mark, TextMark):
            return mark
    return None


def read(content: bytes, mark: TextMark, accounts: Sequence[str], where: str) -> Lines:
    """The lines of a list that were for some accounts, or for all.

    Args:
        content: JSON lines.
        mark: of the texts.
        accounts: whose lines are kept; of canaries with a prompt of theirs the others', too, since a text that two
            were served tells of neither. All where there are none.
        where: it is from, for the message.

    Raises:
        ConfigError: it can't be read, or nothing is left.
    """
    if isinstance(mark, Canaries):
        canaries = _decoded(content, Canary, f"{where}: %s; expected the list that a CanaryWriter wrote")
        theirs = {canonical_value(line.query.text) for line in canaries if line.account in accounts}
        lines: Lines = [line for line in canaries if not accounts or canonical_value(line.query.text) in theirs]
    else:
        exchanges = _decoded(content, Exchange, f"{where}: %s; expected exchanges as JSON lines, each with "
                             "`account` and `query.text`")
        lines = [line for line in exchanges if not accounts or line.account in accounts]
    if not lines:
        raise ConfigError(f"{where}: holds no text of {', '.join(accounts) or 'anybody'}; name the file with what "
                          "the marked server wrote")
    return lines


def encoded(lines: Lines) -> bytes:
    """Lines as `read` reads them, without what else was in the list."""
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def served(lines: Lines, mark: TextMark, key: Prf, where: str) -> Served:
    """What a test of a mark starts from.

    Args:
        lines: of a list, at least one.
        mark: of the texts.
        key: the mark's own, of its epoch.
        where: the lines are from, for the message.

    Raises:
        ConfigError: a canary isn't one that the key writes.
    """
    if isinstance(mark, Canaries):
        return _of_canaries([line for line in lines if isinstance(line, Canary)], mark, key, where)
    return Served.of_texts([line.query.text for line in lines], [line.account for line in lines])


def _of_canaries(lines: Sequence[Canary], mark: Canaries, key: Prf, where: str) -> Served:
    """Each prompt once."""
    first: dict[bytes, Canary] = {}
    whom: dict[bytes, set[str]] = {}
    for line in lines:
        cell = canonical_value(line.query.text)
        first.setdefault(cell, line)
        whom.setdefault(cell, set()).add(line.account)
    own = [line.own.text for line in first.values()]
    written = mark.embed_text(key, list(first), own)
    if [line.answer.text for line in first.values()] != list(written.texts) or not written.roles.all():
        raise ConfigError(f"{where}: has texts that this commitment's key didn't write; name the list of this "
                          "commitment, or choose another with --commitment")
    return Served(
        inputs=[line.query.text for line in first.values()], cells=list(first), roles=written.roles,
        truths=mark.read(own), labels=mark.read(written.texts),
        accounts=[tuple(sorted(whom[cell])) for cell in first], classes=mark.n_variants)


def _decoded(content: bytes, kind: type[T], message: str) -> list[T]:
    try:
        return msgspec.json.Decoder(kind).decode_lines(content)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ConfigError(message % error) from None

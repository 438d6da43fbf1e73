"""What the guard is made of: what leaves, what comes in, wire formats, limits, and who tells of risk."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from counterclone.answers import Answer, Context, Rows
from counterclone.budgets import Limit
from counterclone.queries import Query
from counterclone.speech import Speech


class Release(Protocol):
    """One answer on its way out, fed in pieces."""

    def feed(self, rows: Rows) -> Rows:
        """Release more rows, (rows, classes); a release may hold rows back until `finish`."""
        ...

    def finish(self) -> Rows | None:
        """Rows that were held back, or None."""
        ...


class Policy(Protocol):
    """A rule for what leaves.

    Laws: the output doesn't depend on how the answer was cut into pieces; a batch equals its rows; rows
    stay normalised; the same query gets the same answer; the top label is kept unless `may_flip`.
    """

    may_flip: ClassVar[bool]
    """Whether the served label may change."""
    adds_noise: ClassVar[bool]
    """Whether it adds keyed noise, which differences inside a cell of equal queries would cancel."""
    quantises: ClassVar[bool]
    """Whether it leaves a grid as coarse as any noise before it, so that those differences show nothing."""

    def start(self, context: Context) -> Release:
        """Begin one answer."""
        ...

    def bits(self, n_classes: int) -> float:
        """An upper bound on the bits that one released row of `n_classes` can tell about the row."""
        ...


class SpeechRelease(Protocol):
    """One answer of a language model or of an encoder on its way out, whole or in pieces."""

    def feed(self, speech: Speech) -> Speech:
        """What leaves of a piece: as many texts under the same names, log-probabilities and vectors of the same
        shape or None; a text may be held back until its end, or until `finish`.
        """
        ...

    def finish(self) -> Mapping[str, str]:
        """Texts that were held back, by name, of those whose end never came."""
        ...


class SpeechPolicy(Protocol):
    """A rule for what leaves of a language model's or an encoder's answer.

    Laws: deterministic; what leaves doesn't depend on how the answer was cut into pieces; what it isn't for leaves
    as it is.
    """

    @property
    def edits(self) -> frozenset[str]:
        """What it is for, of `texts`, `logprobs` and `vectors`."""
        ...

    @property
    def value_bits(self) -> float:
        """An upper bound on the bits of one released number of what it is for."""
        ...

    def open(self, context: Context) -> SpeechRelease:
        """Begin one answer."""
        ...


class Rule(Protocol):
    """A rule for what comes in.

    Laws: pure; idempotent; a refusal names the field and the remedy.
    """

    def admit(self, query: Query) -> Query:
        """The query as the model gets it; the same object where nothing changes.

        Raises:
            Refused: the query isn't admitted.
        """
        ...


@runtime_checkable
class Flagging(Protocol):
    """A rule that also tells admitted queries that somebody should know of.

    Laws: pure.
    """

    def flags(self, query: Query) -> bool:
        """Whether journal and metrics are to call the query `flagged`."""
        ...


class Remembering(Protocol):
    """The spec of a rule that remembers what was asked: what runs is started from it, once a guard.

    By itself it admits what its memory, while empty, would.
    """

    def start(self) -> Rule:
        """Begin with an empty memory, whose size is bounded; what runs has this spec as `spec`."""
        ...


class Body(NamedTuple):
    """A body on the wire.

    Attributes:
        content: its bytes.
        headers: the message's, names in lower case; of a body that was written, those to set instead, where
            an empty value takes a header out.
    """

    content: bytes
    headers: Mapping[bytes, bytes] = {}


class Dialect(Protocol):
    """One wire format: bytes to queries and answers, and back.

    Laws: what isn't edited stays byte for byte; an edit reads back as what was written; every error body
    is the format's own.
    """

    error_event: ClassVar[bytes | None]
    """The name of the event that tells an error in a stream of events (`text/event-stream`), b"" for no name; None
    where the format has no streams. The data of each event is read and written like an answer."""

    def model(self, method: str, path: str) -> str | None:
        """The model that an inference request names ("" for none); None: not a request of this format."""
        ...

    def read_query(self, body: Body, model: str) -> Query:
        """Parse a request.

        Raises:
            UnknownFormat: the body isn't one of this format's.
        """
        ...

    def write_query(self, body: Body, query: Query) -> Body:
        """The request with the numeric inputs, or the sampling, of `query`, which a rule changed after
        `read_query`.
        """
        ...

    def can_read(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether an answer with these headers is one of this format's."""
        ...

    def read_answer(self, body: Body, n_rows: int, scores: str) -> Answer:
        """Parse an answer to `n_rows` rows; `scores` names the output with probabilities, "" finds it.

        Raises:
            AnswerError: the body isn't one of this format's, or the named output isn't probabilities.
        """
        ...

    def write_answer(self, answer: Answer, released: dict[str, Rows]) -> Body:
        """The answer with its speech as it is now, and other rows in the outputs that `released` names."""
        ...

    def relabelled(self, body: Body, truths: Sequence[int], labels: Sequence[int]) -> Body | None:
        """An answer whose labels follow the rows that a mark changed; None where a label can't.

        Args:
            body: as the caller would get it, with all its headers.
            truths: the label that each row's probabilities had, (rows,).
            labels: the one that they have now, (rows,).
        """
        ...

    def error(self, status: int, code: str, message: str) -> bytes:
        """An error body as this format's clients expect it."""
        ...


class LimitStore(Protocol):
    """Where limits are counted: in memory, or in one place for many guards."""

    @property
    def trouble(self) -> str:
        """What doesn't work just now, in words, "" for nothing; limits hold all the same."""
        ...

    def reserve(self, account: str, limits: Sequence[Limit], costs: Sequence[float]) -> Awaitable[None] | None:
        """Take `costs` from `limits`, all or none.

        Returns:
            None where that is done, else what to await until it is, which may raise likewise.

        Raises:
            LimitExceeded: one of them hasn't enough left; nothing was taken.
        """
        ...

    def settle(self, account: str, limits: Sequence[Limit], costs: Sequence[float]) -> None:
        """Give back (negative) or take on top (positive) once the true cost is known; never refuses."""
        ...

    def close(self) -> None:
        """Give back what this process holds and didn't use."""
        ...


class RiskSource(Protocol):
    """Who tells the guard about an account.

    Laws: an unknown account has the prior risk, 0; it answers from memory.
    """

    def risk(self, account: str) -> float:
        """The risk that an account copies the model, 0 to 1."""
        ...

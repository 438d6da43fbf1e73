"""Every extension point: the architecture on one page.

A plug-in is a frozen spec (see `plugins.Spec`) whose fields are its TOML keys; what runs is started from
it. The laws named here are contract checks in `counterclone.testing`, run for every plug-in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol

from counterclone.answers import Answer, Context, Rows
from counterclone.budgets import Limit
from counterclone.queries import Query


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
        """The request with the numeric inputs of `query`, which a rule changed after `read_query`."""
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
        """The answer with other rows in the outputs that `released` names."""
        ...

    def error(self, status: int, code: str, message: str) -> bytes:
        """An error body as this format's clients expect it."""
        ...


class LimitStore(Protocol):
    """Where limits are counted: in memory, or in one place for many guards."""

    def reserve(self, account: str, limits: Sequence[Limit], costs: Sequence[float]) -> None:
        """Take `costs` from `limits`, all or none.

        Raises:
            LimitExceeded: one of them hasn't enough left; nothing was taken.
        """
        ...

    def settle(self, account: str, limits: Sequence[Limit], costs: Sequence[float]) -> None:
        """Give back (negative) or take on top (positive) once the true cost is known; never refuses."""
        ...

"""Every extension point: the architecture on one page.

A plug-in is a frozen spec (see `plugins.Spec`) whose fields are its TOML keys; what runs is started from
it. The laws named here are contract checks in `counterclone.testing`, run for every plug-in.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Answer, Context, Reply, Rows
from counterclone.budgets import Limit
from counterclone.evidence import Accepted, Entry, Evidence, Rank, Served
from counterclone.exchanges import Exchanges
from counterclone.queries import Features, Inputs, Query
from counterclone.randomness import Generator as RandomGenerator
from counterclone.randomness import Prf
from counterclone.speech import Speech

PROOF_PATH = "/.well-known/counterclone-audit"
"""Where a host serves an audit's token, and so shows that who audits it controls it."""
TOKEN_FILE = "counterclone.audit-token"  # noqa: S105 (a name)
"""Beside the configuration: the token of an audit that hasn't ended."""
TOKEN_VARIABLE = "COUNTERCLONE_AUDIT_TOKEN"  # noqa: S105 (a name)


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

    def reserve(self, account: str, limits: Sequence[Limit], costs: Sequence[float]) -> None:
        """Take `costs` from `limits`, all or none.

        Raises:
            LimitExceeded: one of them hasn't enough left; nothing was taken.
        """
        ...

    def settle(self, account: str, limits: Sequence[Limit], costs: Sequence[float]) -> None:
        """Give back (negative) or take on top (positive) once the true cost is known; never refuses."""
        ...


class Target(Protocol):
    """What is asked: a callable, a URL, or either behind policies.

    Laws: answers come in the order of the queries, as many as there were; errors are typed.
    """

    async def query(self, inputs: Inputs) -> Reply:
        """The answers to a batch.

        Raises:
            TargetError: it can't be reached, or what it answers isn't what it promised.
        """
        ...


class Surrogate(Protocol):
    """What an attack builds.

    Laws: pure.
    """

    def answer(self, inputs: Inputs) -> Rows:
        """Probabilities, (queries, classes); one-hot where it knows labels only."""
        ...


class Writer(Protocol):
    """What an attack builds of a language model.

    Laws: pure; as many texts as prompts.
    """

    def write(self, inputs: list[str]) -> list[str]:
        """The likeliest answers to prompts: (queries,)."""
        ...


class Embedder(Protocol):
    """What an attack builds of an encoder.

    Laws: pure; finite; always as many dimensions.
    """

    def embed(self, inputs: Inputs) -> NDArray[np.float64]:
        """Vectors: (queries, dimensions)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What an attacker knows before the first query.

    Attributes:
        budget: queries that will be answered.
        pool: inputs without answers, shuffled: (n, features), or texts.
        classes: how many there are, 0 where answers are texts or vectors.
        lower: the least value of each feature that is sensible, (features,); empty for texts.
        upper: the largest, likewise.
        is_open: whether values beyond them are answered too.
        shows: what an answer has, of `labels`, `scores`, `logits`, `ids` and `bias` (it follows a `Prompt`'s
            bias), where labels are always there; or `texts`, or `vectors`.
    """

    budget: int
    pool: Inputs
    classes: int
    lower: Features
    upper: Features
    is_open: bool = True
    shows: frozenset[str] = frozenset({"labels", "scores"})


Asking = Generator[Inputs, Reply, Surrogate | None]
"""An attack under way: it yields a batch, receives the reply, and returns what it built, None for nothing."""


class Attack(Protocol):
    """A published way to copy a model.

    Laws: the same seed asks the same queries; thrown BudgetExhausted, it returns what it has; on a toy target it
    beats the majority label.
    """

    needs: ClassVar[frozenset[str]]
    """`numbers` or `text`, whatever it asks with, and what an answer shows: `scores`, `logits`, `ids`, `bias`."""
    is_exact: ClassVar[bool]
    """Whether it recovers the model itself, or knows the defence: run on callables and the loopback only."""

    def run(self, prior: Prior, rng: RandomGenerator) -> Asking:
        """Ask, and build.

        Args:
            prior: what is known beforehand.
            rng: everything random comes from it.
        """
        ...


Making = Generator[Inputs, Reply, Writer | Embedder | None]
"""As `Asking`, of a target that answers with texts or vectors."""


class Imitation(Protocol):
    """A way to copy a language model or an encoder.

    Laws: an attack's; on a toy target it beats the most frequent answer, or what inputs alone tell of an encoder.
    """

    needs: ClassVar[frozenset[str]]
    """As an attack's, with `texts` for a language model's answers or `vectors` for an encoder's."""
    is_exact: ClassVar[bool]
    """As an attack's."""

    def run(self, prior: Prior, rng: RandomGenerator) -> Making:
        """Ask, and build.

        Args:
            prior: what is known beforehand.
            rng: everything random comes from it.
        """
        ...


States = NDArray[np.int64]
"""A table of summaries, one account a row: (accounts, width). Whole numbers, so that sums have no order."""


class Tracker(Protocol):
    """One statistic's summaries of many accounts, against a reference of honest traffic.

    What an account did is a multiset of exchanges and its summary a row of whole numbers, so one piece of code
    scores an account, the union of linked accounts, and shards that other guards counted.

    Laws: scoring changes nothing; learning has no order; merge is associative and commutative, and merged shards
    equal the whole to the bit; an empty row changes nothing it is merged with.
    """

    def empty(self, n: int) -> States:
        """Summaries of `n` accounts that did nothing: (n, width)."""
        ...

    def learn(self, states: States, exchanges: Exchanges) -> None:
        """Add exchanges to the rows that their accounts' numbers name, in place."""
        ...

    def merge(self, states: States, others: States) -> States:
        """The summaries of both, row by row: (n, width)."""
        ...

    def score(self, states: States) -> NDArray[np.float64]:
        """How unlike honest accounts with as many queries each is, larger is less like; NaN for too few: (n,)."""
        ...

    def profile(self, states: States) -> NDArray[np.float64]:
        """Each account as a point, where an honest account is about a standard normal one whatever its number of
        queries: (n, dimensions), without dimensions where accounts can't be compared so.
        """
        ...


class Detector(Protocol):
    """A statistic that copiers and honest accounts differ in.

    Laws: deterministic; trackers started apart are independent.
    """

    needs: ClassVar[frozenset[str]]
    """What exchanges must hold, of `vectors`, `labels` and `margins`; without it nothing is scored."""
    words: ClassVar[str]
    """What a high score says, for reasons: "its queries ..."."""

    def start(self, reference: Exchanges) -> Tracker:
        """Begin, with what honest accounts asked.

        Raises:
            WatchError: too little of it.
        """
        ...


class RiskSource(Protocol):
    """Who tells the guard about an account.

    Laws: an unknown account has the prior risk, 0; it answers from memory.
    """

    def risk(self, account: str) -> float:
        """The risk that an account copies the model, 0 to 1."""
        ...


class Embedded(NamedTuple):
    """Rows with a mark in them.

    Attributes:
        rows: probabilities as they are released or handed to policies, (rows, classes).
        roles: a `Role` each, (rows,).
    """

    rows: Rows
    roles: NDArray[np.int8]


class Watermark(Protocol):
    """A mark that is put into rows of probabilities.

    Laws: the same key and canonical query, the same mark, whatever the other rows are; rows stay normalised; rows
    that aren't marked stay to the bit; of excluded classes none is marked; at most the stated rate is.
    """

    may_flip: ClassVar[bool]
    """Whether the served label changes."""

    def embed(self, key: Prf, cells: Sequence[bytes], rows: Rows) -> Embedded:
        """Mark some of the rows.

        Args:
            key: the mark's own, of its epoch.
            cells: the canonical query of each row, (rows,).
            rows: the target's, (rows, classes).
        """
        ...


class EmbeddedTexts(NamedTuple):
    """Texts with a mark in them.

    Attributes:
        texts: as they are served, (texts,).
        roles: a `Role` each, (texts,).
    """

    texts: Sequence[str]
    roles: NDArray[np.int8]


class TextWatermark(Protocol):
    """A mark that is put into finished texts.

    Laws: the same key, prompt and text, the same mark; texts that aren't marked stay as they are, and marked ones
    say the same; at most the stated rate is marked, and whether a text can be doesn't depend on the key.
    """

    @property
    def n_variants(self) -> int:
        """The ways that a marked text could be written in."""
        ...

    def embed_text(self, key: Prf, cells: Sequence[bytes], texts: Sequence[str]) -> EmbeddedTexts:
        """Mark some of the texts.

        Args:
            key: the mark's own, of its epoch.
            cells: the canonical prompt of each, (texts,).
            texts: the target's.
        """
        ...

    def read(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """What a text chose where a mark has a choice, as a number, whoever wrote it: (texts,).

        Of the target's own text it is the truth in `Served`, of the served one the label.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is tested against a suspect, all of it fixed before the first answer.

    Attributes:
        served: what the ledger holds under this key.
        key: the mark's own, of its epoch.
        order: draws the order of the queries and the decoys; derived from the epoch's key, so that others can
            draw them again.
        budget: queries that the suspect may be asked.
        alpha: the level; 1/alpha is the e-value that a test may stop at.
        decoys: how many decoy keys are ranked.
        stops_early: whether it stops at that e-value.
        campaigns: accounts that are tested together, fixed beforehand.
    """

    served: Served
    key: Prf
    order: Prf
    budget: int
    alpha: float = 1e-6
    decoys: int = 999
    stops_early: bool = False
    campaigns: tuple[tuple[str, ...], ...] = ()


Examination = Generator[Inputs, Reply, Evidence]
"""A test under way: it yields a batch for the suspect, receives the reply, and returns the evidence."""


class Mark(Protocol):
    """What gives a copy away.

    A mark in sampled texts isn't put in by the guard: `Served.of_texts` says whom texts were written for, and the
    suspect's replies have `texts`.

    Laws: on suspects that are independent of the key, p-values are no smaller than uniform ones and e-values have
    mean 1 or less; a true copy is found; thrown BudgetExhausted, it returns what it has; the key never appears.
    """

    needs: ClassVar[frozenset[str]]
    """What the suspect must show: `label` or `scores`."""

    def verify(self, case: Case) -> Examination:
        """Ask a suspect."""
        ...


class Fingerprint(Protocol):
    """What a copy is told by that was made before anything was marked: probes, the target's answers to them, and
    those of independent models.

    Laws: the probes are chosen by the target alone, so that an independent suspect ranks like any of the others;
    thrown BudgetExhausted, it returns what it has.
    """

    needs: ClassVar[frozenset[str]]
    """What the suspect must show: `label` or `scores`."""

    def compare(self, folder: Path) -> Generator[Inputs, Reply, Rank]:
        """Ask a suspect.

        Args:
            folder: relative paths start from it.

        Raises:
            ConfigError: there are no probes, or they don't hold together.
        """
        ...


class Ledger(Protocol):
    """The record of what was served.

    Laws: what was appended is there after a restart, and on the disk before `append` returns where a payload is in
    it; nothing that was appended can change unseen.
    """

    def append(self, entries: Sequence[Entry]) -> None:
        """Take the rows of one answer, all or none.

        Raises:
            LedgerError: they can't be written.
        """
        ...

    def accept(self, account: str, accepted: Accepted) -> None:
        """Take that an account accepted terms, once for each version.

        Raises:
            LedgerError: it can't be written.
        """
        ...

"""What is copied, who copies, and what comes of it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Reply, Rows
from counterclone.queries import Features, Inputs
from counterclone.randomness import Generator as RandomGenerator

PROOF_PATH = "/.well-known/counterclone-audit"
"""Where a host serves an audit's token, and so shows that who audits it controls it."""
TOKEN_FILE = "counterclone.audit-token"  # noqa: S105 (a name)
"""Beside the configuration: the token of an audit that hasn't ended."""
TOKEN_VARIABLE = "COUNTERCLONE_AUDIT_TOKEN"  # noqa: S105 (a name)


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

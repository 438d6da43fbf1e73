"""What language models and encoders answer: texts, log-probabilities of their tokens, vectors.

One object holds what a whole answer has, or what one event of a stream adds to it, so that a policy works on
both alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.budgets import BYTES_PER_TOKEN

BITS_PER_BYTE = 8

Vectors = NDArray[np.float64]


class Said(NamedTuple):
    """A text, or a piece of one.

    Attributes:
        name: which text of the answer it belongs to; pieces of one name follow each other.
        text: the text.
        is_reasoning: whether the server itself says that it is thought and no answer.
        is_last: whether the text ends with it.
    """

    name: str
    text: str
    is_reasoning: bool = False
    is_last: bool = True


class Logprobs(NamedTuple):
    """The log-probabilities of tokens, in nats; NaN where one isn't told.

    Attributes:
        chosen: of the token that was written, (tokens,).
        top: of the likeliest ones, (tokens, k); a number that a policy makes NaN leaves with its token.
    """

    chosen: NDArray[np.float64]
    top: NDArray[np.float64]

    @property
    def n_values(self) -> int:
        """How many numbers are told."""
        return int(np.count_nonzero(np.isfinite(self.chosen)) + np.count_nonzero(np.isfinite(self.top)))


class Usage(NamedTuple):
    """The tokens that a server says it counted, None where it says nothing that could be true."""

    tokens_in: int | None = None
    tokens_out: int | None = None

    def then(self, later: Usage) -> Usage:
        """Both together: what a later event of a stream says counts."""
        return Usage(self.tokens_in if later.tokens_in is None else later.tokens_in,
                     self.tokens_out if later.tokens_out is None else later.tokens_out)

    def total(self, estimate_in: float, estimate_out: float) -> float:
        """All tokens, with estimates for those that nobody told."""
        return ((estimate_in if self.tokens_in is None else self.tokens_in)
                + (estimate_out if self.tokens_out is None else self.tokens_out))


class Speech(NamedTuple):
    """An answer of a language model or of an encoder, or what one event adds to it.

    Attributes:
        said: its texts.
        logprobs: of all its tokens, one text after the other; None for none.
        vectors: (queries, dimensions); None for none.
        hides: whether there are log-probabilities in shapes that no policy edits, which leave as they are or not
            at all.
        usage: what was counted.
    """

    said: Sequence[Said] = ()
    logprobs: Logprobs | None = None
    vectors: Vectors | None = None
    hides: bool = False
    usage: Usage = Usage()

    @property
    def materials(self) -> set[str]:
        """What there is that a policy has to be for, of `logprobs` and `vectors`; text alone may leave."""
        found = {"logprobs"} if self.logprobs is not None or self.hides else set()
        return found if self.vectors is None else found | {"vectors"}

    @property
    def n_values(self) -> int:
        """Numbers that it tells."""
        return ((0 if self.logprobs is None else self.logprobs.n_values)
                + (0 if self.vectors is None else self.vectors.size))

    @property
    def text_bytes(self) -> int:
        """Bytes of its texts as UTF-8."""
        return sum(len(each.text.encode(errors="replace")) for each in self.said)

    @property
    def tokens_out(self) -> float:
        """Tokens of its texts, estimated."""
        return self.text_bytes / BYTES_PER_TOKEN

"""What an account gets: the policies that its answers pass through, and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from counterclone.answers import Answer, Context, Output, Rows, full_bits
from counterclone.budgets import Limit
from counterclone.errors import AnswerError
from counterclone.protocols import Policy
from counterclone.queries import Query
from counterclone.randomness import Prf
from counterclone.releases import released

MODELS_KEPT = 1024


class Terms:
    """The policies and limits of one account class, in one tier of it.

    Args:
        policies: applied in this order.
        limits: of an account, on queries and on leaked bits.
        tiers: what an account gets instead, in each tier, and at the end where its owner blocked it; each
            coarser than the one before.
        is_blocked: whether such an account is refused.
        is_marked: whether its answers may carry marks.

    Attributes:
        meters_bits: whether a limit counts bits.
        row_bits: an upper bound on the bits of one released row, by its classes: no step adds to what one before
            it let through.
    """

    def __init__(self, policies: Sequence[Policy], limits: Sequence[Limit], *, tiers: Sequence[Terms] = (),
                 is_blocked: bool = False, is_marked: bool = True) -> None:
        self.policies = tuple(policies)
        self.is_marked = is_marked
        self.limits = tuple(limits)
        self.tiers = tuple(tiers)
        self.is_blocked = is_blocked
        self.row_bits = lru_cache(maxsize=64)(self._bits)
        self._expected: dict[str, float] = {}
        self.meters_bits = any(limit.unit == "bits" for limit in self.limits)

    def costs(self, queries: int, bits: float) -> list[float]:
        """What a request takes from each limit."""
        if not self.meters_bits:
            return [queries] * len(self.limits)
        return [bits if limit.unit == "bits" else queries for limit in self.limits]

    def answer_bits(self, answer: Answer) -> float:
        """An upper bound on the bits that an answer tells about one query."""
        bits = 0.0
        for output in answer.outputs.values():
            bits += self.row_bits(output.rows.shape[1]) * output.rows_per_query
        return bits

    def expected_bits(self, model: str) -> float:
        """The bits for one query that the model's last answer released; 0 before its first."""
        return self._expected.get(model, 0.0)

    def expect(self, model: str, bits: float) -> None:
        """Remember what an answer of a model released for one query."""
        if model not in self._expected and len(self._expected) >= MODELS_KEPT:  # callers may make up names
            del self._expected[next(iter(self._expected))]
        self._expected[model] = bits

    def release(self, answer: Answer, query: Query, noise: Prf) -> dict[str, Rows]:
        """The released rows of each output that holds probabilities.

        Raises:
            AnswerError: a policy made rows that aren't probabilities.
        """
        return {name: self._released(name, output, query, noise) for name, output in answer.outputs.items()}

    def _released(self, name: str, output: Output, query: Query, noise: Prf) -> Rows:
        try:
            return released(self.policies, Context(noise, query, output.rows_per_query), output.rows)
        except AnswerError as error:
            raise AnswerError(f"output '{name}': {error}") from error.__cause__

    def _bits(self, n_classes: int) -> float:
        return min([full_bits(n_classes), *(policy.bits(n_classes) for policy in self.policies)])


UNGUARDED = Terms((), ())
"""What an answer is worth that no policy touched."""

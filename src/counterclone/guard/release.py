"""What an account gets: the policies that its answers pass through, and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from counterclone.answers import FLOAT_BITS, Answer, Context, Output, Rows, full_bits
from counterclone.budgets import Limit
from counterclone.errors import AnswerError
from counterclone.protocols import Policy, SpeechPolicy
from counterclone.queries import Query
from counterclone.randomness import Prf
from counterclone.releases import SpeechReleases, for_rows, for_speech, released
from counterclone.speech import BITS_PER_BYTE, Speech

MODELS_KEPT = 1024


class Terms:
    """The policies and limits of one account class, in one tier of it.

    Args:
        policies: for rows, for speech or for both, applied in this order.
        limits: of an account, on queries, on tokens and on leaked bits.
        tiers: what an account gets instead, in each tier, and at the end where its owner blocked it; each
            coarser than the one before.
        is_blocked: whether such an account is refused.
        is_marked: whether its answers may carry marks.

    Attributes:
        meters_bits: whether a limit counts bits.
        meters_tokens: whether a limit counts tokens.
        row_bits: an upper bound on the bits of one released row, by its classes: no step adds to what one before
            it let through.
    """

    def __init__(self, policies: Sequence[Policy | SpeechPolicy], limits: Sequence[Limit], *,
                 tiers: Sequence[Terms] = (), is_blocked: bool = False, is_marked: bool = True) -> None:
        self.policies = tuple(policies)
        self._for_rows = for_rows(self.policies)
        self._for_speech = for_speech(self.policies)
        self._guards_numbers = bool(self._for_rows) or any(
            policy.edits & {"logprobs", "vectors"} for policy in self._for_speech)
        self.is_marked = is_marked
        self.limits = tuple(limits)
        self.tiers = tuple(tiers)
        self.is_blocked = is_blocked
        self.row_bits = lru_cache(maxsize=64)(self._bits)
        self._value_bits = min([float(FLOAT_BITS), *(policy.value_bits for policy in self._for_speech)])
        self._expected: dict[str, float] = {}
        self._expected_tokens: dict[str, float] = {}
        self.meters_bits = any(limit.unit == "bits" for limit in self.limits)
        self.meters_tokens = any(limit.unit == "tokens" for limit in self.limits)

    def costs(self, queries: int, bits: float, tokens: float = 0.0) -> list[float]:
        """What a request takes from each limit."""
        if not (self.meters_bits or self.meters_tokens):
            return [queries] * len(self.limits)
        amounts = {"queries": queries, "bits": bits, "tokens": tokens}
        return [amounts[limit.unit] for limit in self.limits]

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
        _remember(self._expected, model, bits)

    def expected_tokens(self, model: str) -> float:
        """The tokens of the model's last answer; 0 before its first."""
        return self._expected_tokens.get(model, 0.0)

    def expect_tokens(self, model: str, tokens: float) -> None:
        """Remember how many tokens an answer of a model had."""
        _remember(self._expected_tokens, model, tokens)

    def speech_bits(self, speech: Speech) -> float:
        """An upper bound on the bits that a released speech tells."""
        return self._value_bits * speech.n_values + BITS_PER_BYTE * speech.text_bytes

    def speak(self, query: Query, noise: Prf) -> SpeechReleases:
        """Begin to release one answer of a language model or of an encoder."""
        return SpeechReleases(self._for_speech, Context(noise, query), guards_numbers=self._guards_numbers)

    def release(self, answer: Answer, query: Query, noise: Prf) -> dict[str, Rows]:
        """The released rows of each output that holds probabilities.

        Raises:
            AnswerError: a policy made rows that aren't probabilities, or none is for probabilities.
        """
        if answer.outputs and self._guards_numbers and not self._for_rows:
            raise AnswerError("the answer holds probabilities and no policy is for them; the owner can add "
                              "`rounding`")
        return {name: self._released(name, output, query, noise) for name, output in answer.outputs.items()}

    def _released(self, name: str, output: Output, query: Query, noise: Prf) -> Rows:
        try:
            return released(self._for_rows, Context(noise, query, output.rows_per_query), output.rows)
        except AnswerError as error:
            raise AnswerError(f"output '{name}': {error}") from error.__cause__

    def _bits(self, n_classes: int) -> float:
        return min([full_bits(n_classes), *(policy.bits(n_classes) for policy in self._for_rows)])


def _remember(expected: dict[str, float], model: str, amount: float) -> None:
    if model not in expected and len(expected) >= MODELS_KEPT:  # callers may make up names
        del expected[next(iter(expected))]
    expected[model] = amount


UNGUARDED = Terms((), ())
"""What an answer is worth that no policy touched."""

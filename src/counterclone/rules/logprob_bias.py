"""Keep biases on the logits and log-probabilities apart."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import replace

from counterclone.errors import Refused
from counterclone.plugins import Spec
from counterclone.queries import Query
from counterclone.rules._memory import Memory

_ASKED = "`logit_bias` has {0} with `logprobs`, expected one of them; leave the other out"
_TOLD = ("`logprobs` is asked of a prompt that was asked with `logit_bias`, expected another prompt; leave "
         "`logprobs` out")
_BIASED = ("`logit_bias` is asked of a prompt whose `logprobs` were told, expected another prompt; leave "
           "`logit_bias` out")


class LogprobBias(Spec, frozen=True):
    """Refuse `logit_bias` together with log-probabilities, in one request or on one prompt.

    A bias brings any token among the shown ones, so that all logits of a prompt come out a few at a time, and from
    many prompts the model's last layer (Carlini et al. 2024, Stealing Part of a Production Language Model). Who
    splits it between requests or accounts is recognised by the prompt: while that is remembered, whoever asks.
    Biases alone still tell logits, a bit at a time: cap them, and count them with `sampling`. Tokens that are
    forced by other means, such as grammars, aren't seen. Prompts that differ are others, and somebody may spoil
    the log-probabilities of a prompt that many use; `remember = 0` looks at each request by itself.

    Attributes:
        mode: `refuse` the request, or `strip` the log-probabilities from it; a bias on a prompt whose
            log-probabilities were told is refused in both.
        bias_max: the largest bias, either way.
        biases_max: tokens with a bias in one request.
        remember: prompts that are remembered of each kind.
    """

    mode: Literal["refuse", "strip"] = "refuse"
    bias_max: Annotated[float, Meta(ge=0.0)] = 100.0
    biases_max: Annotated[int, Meta(ge=0)] = 300
    remember: Annotated[int, Meta(ge=0, le=10**7)] = 100_000

    def admit(self, query: Query) -> Query:
        """The query by itself, without log-probabilities where it has biases.

        Raises:
            Refused: it has both, or too many or too large biases.
        """
        sampling = query.sampling
        if sampling is None or not sampling.bias:
            return query
        largest = max(map(abs, sampling.bias.values()))
        if len(sampling.bias) > self.biases_max:
            raise Refused(f"`logit_bias` has {len(sampling.bias)} tokens, expected {self.biases_max} at most; "
                          "leave some out")
        if largest > self.bias_max:
            raise Refused(f"`logit_bias` is as large as {largest:g}, expected {self.bias_max:g} at most; choose "
                          "smaller ones")
        return query if sampling.logprobs is None else self.without(query, _ASKED.format(len(sampling.bias)))

    def without(self, query: Query, problem: str) -> Query:
        """The query without log-probabilities.

        Raises:
            Refused: the owner would rather refuse it.
        """
        if self.mode == "refuse" or query.sampling is None:
            raise Refused(problem)
        return query.with_sampling(replace(query.sampling, logprobs=None))

    def start(self) -> Apart:
        """Begin with an empty memory."""
        return Apart(self)


class Apart:
    """What runs: it remembers the prompts of both kinds."""

    def __init__(self, spec: LogprobBias) -> None:
        self.spec = spec
        self._biased, self._told = Memory(spec.remember), Memory(spec.remember)

    def admit(self, query: Query) -> Query:
        """The query, without log-probabilities where it, or others on its prompt, have biases.

        Raises:
            Refused: as the spec says.
        """
        query = self.spec.admit(query)
        sampling = query.sampling
        if sampling is None:
            return query
        if sampling.bias:
            if self._told.most(query.cells):
                raise Refused(_BIASED)
            self._biased.note(query.cells)
        elif sampling.logprobs is not None:
            if self._biased.most(query.cells):
                return self.spec.without(query, _TOLD)
            self._told.note(query.cells)
        return query

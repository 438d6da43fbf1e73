"""Cap how often, and in how many ways, one prompt is answered."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from counterclone.errors import Refused
from counterclone.plugins import Spec
from counterclone.queries import Query
from counterclone.rules._memory import Memory


class Sampling(Spec, frozen=True):
    """Cap `n` and `best_of`, and how often one prompt is asked in a way that always answers the same.

    Many samples of a prompt tell its distribution without any log-probability; the same prompt at temperature 0
    under one bias after another tells logits a bit at a time (Morris et al. 2023, Language Model Inversion). The
    count is over all accounts, for as long as the prompt is remembered, so it must leave room for prompts that
    many use. Prompts that differ count apart.

    Attributes:
        n_max: answers to a prompt in one request.
        best_of_max: answers that are written to choose them from.
        repeats_max: requests for one prompt with `logit_bias`, a seed or temperature 0; 0 for any number.
        remember: prompts whose requests are counted.
    """

    n_max: Annotated[int, Meta(ge=1)] = 8
    best_of_max: Annotated[int, Meta(ge=1)] = 8
    repeats_max: Annotated[int, Meta(ge=0)] = 0
    remember: Annotated[int, Meta(ge=1, le=10**7)] = 100_000

    def admit(self, query: Query) -> Query:
        """The query by itself.

        Raises:
            Refused: it asks for too many answers.
        """
        sampling = query.sampling
        if sampling is not None:
            for name, asked, most in (("n", sampling.n, self.n_max),
                                      ("best_of", sampling.best_of, max(self.best_of_max, self.n_max))):
                if asked > most:
                    raise Refused(f"`{name}` is {asked}, expected {most} at most; ask for fewer answers")
        return query

    def start(self) -> Counted:
        """Begin with an empty memory."""
        return Counted(self)


class Counted:
    """What runs: it counts the requests for each prompt."""

    def __init__(self, spec: Sampling) -> None:
        self.spec = spec
        self._asked = Memory(spec.remember)

    def admit(self, query: Query) -> Query:
        """The query.

        Raises:
            Refused: as the spec says, or its prompt was asked too often.
        """
        query = self.spec.admit(query)
        sampling, most = query.sampling, self.spec.repeats_max
        if most and sampling is not None and (sampling.is_repeatable or sampling.bias):
            if (asked := self._asked.most(query.cells)) >= most:
                raise Refused(f"the prompt was asked {asked} times with `logit_bias`, `seed` or `temperature` 0, "
                              f"expected {most} at most; keep the answer, or ask another prompt")
            self._asked.note(query.cells)
        return query

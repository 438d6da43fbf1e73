"""Tell requests for hidden reasoning and for system prompts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta

from counterclone.errors import Refused
from counterclone.plugins import Spec
from counterclone.queries import Query
from counterclone.rules import _phrases


class Elicitation(Spec, frozen=True):
    """Flag or refuse requests that ask a language model for its hidden reasoning or its system prompt.

    Traces of reasoning teach a student more than answers do, and whoever collects them asks for them in words;
    so does whoever wants the prompt that a product is made of. A linear model weighs words and pairs of them,
    hashed by their first letters, and the run of words that weighs most counts. It was made from grammars of
    ours, so it knows what resembles them: English, in words. Other languages, spaced or coded letters,
    pictures, and a request that is spread over a conversation pass, as does everything in system messages,
    where honest apps speak of prompts and secrets. One flag proves nothing; an account with many is worth a
    look.

    Attributes:
        action: `flag` admits the request, and journal and metrics call it `flagged`; `refuse` refuses from
            `refuse_at` on, and flags below.
        flag_at: the score from which on a request is flagged, 0 to 1; at 0.5 about one honest request in 70 is.
        refuse_at: the score from which on it is refused; at 0.9 about one honest request in 5,000 is.
    """

    action: Literal["flag", "refuse"] = "flag"
    flag_at: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.5
    refuse_at: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.9

    def __post_init__(self) -> None:
        """What is refused would be flagged."""
        if self.refuse_at < self.flag_at:
            raise ValueError("`refuse_at` must not be below `flag_at`")

    def admit(self, query: Query) -> Query:
        """The query.

        Raises:
            Refused: it asks for what is hidden, and `action` is to refuse.
        """
        if self.action == "refuse" and (score := self.score(query)) >= self.refuse_at:
            raise Refused(f"the request reads as one for hidden reasoning or a system prompt (score {score:.2f}), "
                          f"expected less than {self.refuse_at:g}; ask for the answer and its reasons instead")
        return query

    def flags(self, query: Query) -> bool:
        """Whether an admitted query is to be flagged."""
        return self.score(query) >= self.flag_at

    def score(self, query: Query) -> float:
        """How much what the user says reads as such a request, 0 to 1."""
        said = "\n".join(_said(query))
        return _phrases.model("elicitation").score(said) if said else 0.0


def _said(query: Query) -> Iterator[str]:
    """The texts of a query, of a conversation those of its user, the latest first."""
    if isinstance(query.values, np.ndarray):
        return
    for row in query.values:
        if isinstance(row, str):
            yield row
        elif isinstance(row, dict) and isinstance(messages := row.get("messages"), list):
            for message in reversed(messages):
                if isinstance(message, dict) and message.get("role", "user") == "user":
                    yield from _parts(message.get("content"))


def _parts(content: Any) -> Iterator[str]:
    for part in content if isinstance(content, list) else [content]:
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str):
            yield text

"""What the formats of language models' servers have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from counterclone.answers import Answer, Rows
from counterclone.guard.dialects import _asked, _json
from counterclone.guard.dialects._parts import Parts
from counterclone.plugins import Spec
from counterclone.protocols import Body
from counterclone.queries import Query


class Spoken(Spec, frozen=True):
    """A format whose answers are read and written by their parts, and have no labels."""

    def write_query(self, body: Body, query: Query) -> Body:
        """The request with the sampling of `query`."""
        return _asked.written(body, query)

    def can_read(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether an answer is JSON that nobody compressed."""
        return _json.is_plain(headers)

    def write_answer(self, answer: Answer, released: dict[str, Rows]) -> Body:
        """The answer with its speech as it is now."""
        parts: Parts = answer.document
        assert answer.speech is not None  # `read_answer` gave it one
        return parts.written(answer.speech)

    def relabelled(self, body: Body, truths: Sequence[int], labels: Sequence[int]) -> Body | None:
        """None: there are no labels."""
        return None

"""A target that counts what it is asked."""

from __future__ import annotations

from counterclone.answers import Reply
from counterclone.protocols import Target
from counterclone.queries import Inputs


class Counted:
    """A target, and how often it was asked.

    Attributes:
        queries: rows that it answered.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self.queries = 0

    async def query(self, inputs: Inputs) -> Reply:
        """The target's answers."""
        reply = await self._target.query(inputs)
        self.queries += len(inputs)
        return reply

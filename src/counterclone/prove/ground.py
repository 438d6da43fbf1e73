"""What a dossier rests on: records of the ledger, or texts of which the owner has a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from counterclone.evidence import Evidence
from counterclone.prove.transcript import Replay
from counterclone.prove.verification import Question


class Check(msgspec.Struct, frozen=True):
    """One thing that was computed again.

    Attributes:
        name: what.
        holds: whether it came out as the dossier says.
        text: what was found.
    """

    name: str
    holds: bool
    text: str


class Ground(Protocol):
    """What was served, as a dossier shows it.

    Laws: nothing is believed that the commitment doesn't bind or a check doesn't mention; what isn't of the right
    form is a CountercloneError, or what Python raises for it.
    """

    @property
    def questions(self) -> Sequence[Question]:
        """What the suspect was asked by."""
        ...

    def checks(self) -> Iterator[Check]:
        """What holds before any answer is looked at, up to the first that makes the others impossible."""
        ...

    def beyond(self, evidence: Sequence[Evidence], replays: Mapping[str, Replay]) -> Iterator[Check]:
        """What is left to say once the figures are there.

        Args:
            evidence: of each question.
            replays: the suspect's answers after they were given again, by mark.
        """
        ...

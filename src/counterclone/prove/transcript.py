"""A suspect's answers as they were given, and given again to whoever checks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterclone.answers import Reply
from counterclone.errors import DossierError
from counterclone.protocols import Target
from counterclone.prove.dossier import Answered
from counterclone.queries import Inputs, Query


class Transcript:
    """A suspect whose answers are written down.

    Args:
        suspect: who answers.

    Attributes:
        answers: so far, in the order of the queries.
        asked: the queries, a batch each.
    """

    def __init__(self, suspect: Target) -> None:
        self.answers: list[Answered] = []
        self.asked: list[Inputs] = []
        self._suspect = suspect

    async def query(self, inputs: Inputs) -> Reply:
        """The suspect's answers.

        Raises:
            TargetError: it fails.
        """
        reply = await self._suspect.query(inputs)
        rows, texts = reply.rows.tolist(), reply.texts or [""] * len(reply.rows)
        self.asked.append(inputs)
        self.answers += [Answered(cell.hex(), tuple(row), text) for cell, row, text
                         in zip(Query(inputs).cells, rows, texts, strict=True)]
        return reply


class Replay:
    """What a suspect answered, to be asked the same queries in the same order.

    Args:
        answers: of a transcript.

    Attributes:
        asked: the queries so far, a batch each.
    """

    def __init__(self, answers: Sequence[Answered]) -> None:
        self.asked: list[Inputs] = []
        self._answers = list(answers)

    @property
    def n_left(self) -> int:
        """Answers that nobody has asked for."""
        return len(self._answers)

    async def query(self, inputs: Inputs) -> Reply:
        """The answers to the next queries.

        Raises:
            DossierError: these weren't the next, or there are none.
        """
        cells = [cell.hex() for cell in Query(inputs).cells]
        given, self._answers = self._answers[:len(cells)], self._answers[len(cells):]
        if [answer.cell for answer in given] != cells:
            raise DossierError("the suspect's answers aren't to the queries that the key puts next; answers were "
                               "left out, added or moved")
        if len({len(answer.scores) for answer in given}) > 1:
            raise DossierError("the suspect's answers have different numbers of classes")
        self.asked.append(inputs)
        rows = np.array([answer.scores for answer in given], dtype=np.float64).reshape(len(given), -1)
        texts = [answer.text for answer in given]
        return Reply(rows, texts=texts if any(texts) else None)

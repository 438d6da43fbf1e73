"""Whether the model stays the same while it is tuned."""

from __future__ import annotations

import numpy as np

from counterclone.answers import Rows
from counterclone.audit.data import as_data, complete
from counterclone.audit.engine import finished, opened
from counterclone.queries import Inputs
from counterclone.tune.subject import Subject

N_ASKED = 20
TOLERANCE = 1e-3
"""Of a probability: another batch or another core may round otherwise, another release answers otherwise."""


class Constancy:
    """A few inputs, asked when a sweep begins and when it ends.

    Args:
        subject: the model.

    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._inputs = _some(subject)
        self._answers = self._ask()
        self._is_noisy = self._n_differing > 0

    @property
    def n_asked(self) -> int:
        """Inputs that are asked; 0 where the subject brings none."""
        return 0 if self._answers is None else len(self._answers)

    @property
    def classes(self) -> int | None:
        """Of an answer, None where nothing is asked."""
        return None if self._answers is None else self._answers.shape[1]

    @property
    def release(self) -> bytes:
        """Tells this state of the model from others, as far as these inputs do."""
        return b"" if self._answers is None else self._answers.round(3).tobytes()

    @property
    def n_changed(self) -> int:
        """Inputs with other answers than at the beginning, asked now; 0 of a target that never repeats itself."""
        return 0 if self._is_noisy else self._n_differing

    @property
    def _n_differing(self) -> int:
        before, after = self._answers, self._ask()
        if before is None or after is None:
            return 0
        if after.shape != before.shape:
            return len(before)
        return int((np.abs(after - before).max(axis=1) > TOLERANCE).sum())

    def _ask(self) -> Rows | None:
        return None if self._inputs is None else finished(_asked(self._subject, self._inputs))


async def _asked(subject: Subject, inputs: Inputs) -> Rows:
    async with opened(subject.predict, returns=subject.returns, seconds=subject.seconds) as target:
        return (await target.query(inputs)).rows


def _some(subject: Subject) -> Inputs | None:
    for where in ("evaluate", "pool"):
        given = getattr(subject, where)
        if given is not None:
            return complete(as_data(given, where), where, lambda text: None).inputs[:N_ASKED]
    return None

"""Release the label and nothing else."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from counterclone.answers import Context, PerRow, Rows, top_labels
from counterclone.plugins import Spec


class Labels(Spec, frozen=True):
    """Each row becomes one-hot at its top label.

    The floor of every soft defence: a copier can always drop the probabilities, so no policy on
    probabilities makes a copy dearer than this one does. Callers lose all confidence values.
    """

    may_flip: ClassVar[bool] = False
    adds_noise: ClassVar[bool] = False
    quantises: ClassVar[bool] = True

    def start(self, context: Context) -> PerRow:
        """Begin one answer."""
        return PerRow(one_hot)

    def bits(self, n_classes: int) -> float:
        """log2 K: which of K labels."""
        return math.log2(max(n_classes, 1))


def one_hot(rows: Rows) -> Rows:
    """1 at the first largest of each row, 0 elsewhere: (rows, classes)."""
    released = np.zeros_like(rows)
    released[np.arange(len(rows)), top_labels(rows)] = 1.0
    return released

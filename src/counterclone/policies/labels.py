"""Release the label and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from counterclone.answers import FLOAT_BITS, Context, PerRow, Rows, top_labels
from counterclone.plugins import Spec
from counterclone.speech import Speech


class Labels(Spec, frozen=True):
    """Each row becomes one-hot at its top label; texts leave without log-probabilities.

    The floor of every soft defence: a copier can always drop the probabilities, so no policy on
    probabilities makes a copy dearer than this one does. Callers lose all confidence values.
    """

    may_flip: ClassVar[bool] = False
    adds_noise: ClassVar[bool] = False
    quantises: ClassVar[bool] = True
    edits: ClassVar[frozenset[str]] = frozenset({"logprobs"})

    def start(self, context: Context) -> PerRow:
        """Begin one answer."""
        return PerRow(one_hot)

    def bits(self, n_classes: int) -> float:
        """log2 K: which of K labels."""
        return math.log2(max(n_classes, 1))

    @property
    def value_bits(self) -> float:
        """No number of what it is for leaves."""
        return float(FLOAT_BITS)

    def open(self, context: Context) -> Wordy:
        """Begin one answer of a language model."""
        return Wordy()


class Wordy:
    """One answer as text alone."""

    def feed(self, speech: Speech) -> Speech:
        """The texts."""
        is_bare = speech.logprobs is None and not speech.hides
        return speech if is_bare else speech._replace(logprobs=None, hides=False)

    def finish(self) -> Mapping[str, str]:
        """Nothing is held back."""
        return {}


def one_hot(rows: Rows) -> Rows:
    """1 at the first largest of each row, 0 elsewhere: (rows, classes)."""
    released = np.zeros_like(rows)
    released[np.arange(len(rows)), top_labels(rows)] = 1.0
    return released

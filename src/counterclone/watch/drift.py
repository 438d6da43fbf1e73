"""Whether the reference still fits: signs that the model changed, or everybody with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from counterclone.exchanges import NO_LABEL
from counterclone.watch.accounts import Columns

_FAR = 1.28
"""Nine of ten honest accounts score less, on the scale of the reference."""
_COHORT = 400
_COHORT_SHARE = 0.2
"""Of all accounts: the cohort is to be larger than most campaigns."""
_SMALLEST_COHORT = 100
_LABELS_KEPT = 5000.0
_NEW_LABELS = 0.2


def has_everybody_moved(columns: Columns, detectors: Sequence[int], n_accounts: int, n_scorings: int) -> bool:
    """Whether most of the accounts that were scored last are far out by one and the same detector.

    Then the model changed or the reference is stale, and none of them stands out. A campaign moves only its own
    accounts; it is taken for a change where most of the last accounts are its own.

    Args:
        columns: the table's.
        detectors: the numbers of those that see what is asked and answered: hours and repeats don't tell of a
            model, and at night only machines ask.
        n_accounts: that are in it.
        n_scorings: so far.
    """
    size = max(_COHORT, int(_COHORT_SHARE * n_accounts))
    cohort = np.flatnonzero(columns.scored > max(n_scorings - size, 0))
    if len(cohort) < _SMALLEST_COHORT or not detectors:
        return False
    return bool((np.median(columns.latest[cohort][:, list(detectors)], axis=0) > _FAR).any())


class NewLabels:
    """The share of answers with labels that the reference never saw, those of long ago fading.

    Args:
        known: the reference's labels, sorted.
    """

    def __init__(self, known: NDArray[np.int32]) -> None:
        self._known = known
        self.n_labels = self.n_new = 0.0

    def add(self, labels: NDArray[np.int32]) -> None:
        """Count the labels of answers, (n,)."""
        labels = labels[labels != NO_LABEL]
        if not len(self._known) or not len(labels):
            return
        places = np.minimum(np.searchsorted(self._known, labels), len(self._known) - 1)
        kept = max(1.0 - len(labels) / _LABELS_KEPT, 0.0)
        self.n_labels = self.n_labels * kept + len(labels)
        self.n_new = self.n_new * kept + int((self._known[places] != labels).sum())

    @property
    def share(self) -> float:
        """Of the last few thousand answers."""
        return self.n_new / max(self.n_labels, 1.0)

    @property
    def are_many(self) -> bool:
        """Whether it isn't a few classes that came later."""
        return self.share > _NEW_LABELS

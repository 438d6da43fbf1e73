"""Mislead a student about everything but the label."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from counterclone.answers import Context, PerRow, Rows, full_bits, keep_top, log2_choose, top_labels
from counterclone.plugins import Spec
from counterclone.policies.rounding import apportioned

LESS = 0.5
"""A decoy gets at most this share of what the label gets, so that the served margin is wide."""
FARTHEST = 2.0
ROUND_OFF = 1e-9
"""A label that falls to 0.5 moves its row by exactly 1, whose last digit isn't to decide."""

Confidence = Annotated[float, Meta(gt=0, le=1)]


class Deception(Spec, frozen=True):
    """Serve the label with one of a few confidences, and give the rest to keyed decoys.

    What a soft label teaches beyond the label is how near the other classes are, and the rest of its row tells
    that. So the label's probability becomes the nearest of a few `confidences`, which keeps it about as calibrated
    as it was, and the rest goes to wrong classes that the model's key and the canonical query choose: a student
    that believes the row learns second choices that aren't, and one that drops the rest has the label and one of
    a few confidences. Every label is served as it was. The same query gets the same row, and a row is one of few,
    so that neither repeats nor comparisons within a cell tell more.

    A row that would move by more than `l1_max` is rounded instead, to a grid so fine that it surely doesn't, and
    teaches what rounded rows teach: with 1 these are the rows whose label has less than half, with 2 there are
    none. Second choices are false on purpose, so whoever needs more than a label and how sure it is, such as the
    three likeliest, is ill served. Who uses labels alone is not misled: no policy that keeps them does better.

    In the manner of Orekondy et al. 2020, "Prediction Poisoning" (the label kept, the row within a distance), and
    Mazeika et al. 2022, "How to Steer Your Adversary", but without a student's gradient; few rows for many inputs:
    Tang et al. 2024, "ModelGuard".

    Attributes:
        l1_max: how far a row may move, the sum of the absolute differences; 2 is any distance.
        confidences: what the label's probability may become, ascending.
    """

    l1_max: Annotated[float, Meta(ge=0.01, le=2)] = 1.0
    confidences: Annotated[tuple[Confidence, ...], Meta(min_length=1, max_length=16)] = (0.3, 0.5, 0.7, 0.9, 0.98)

    may_flip: ClassVar[bool] = False
    adds_noise: ClassVar[bool] = True
    quantises: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Each above the one before."""
        if any(one >= other for one, other in zip(self.confidences, self.confidences[1:], strict=False)):
            raise ValueError("`confidences` must ascend")

    def start(self, context: Context) -> DeceptiveRows:
        """Begin one answer."""
        return DeceptiveRows(self, context)

    def bits(self, n_classes: int) -> float:
        """Which class, confidence and first decoy, or a row on the grid."""
        if n_classes < 2:
            return 0.0
        disguises = math.log2(n_classes * len(self.confidences) * (n_classes - 1))
        if self.l1_max == FARTHEST:
            return disguises
        rounded = log2_choose(self.units(n_classes) + n_classes - 1, n_classes - 1)
        return min(float(np.logaddexp2(disguises, rounded)), full_bits(n_classes))

    def units(self, n_classes: int) -> int:
        """Of a row that is rounded: so many that it surely moves by no more than `l1_max`."""
        # Each value is within a unit of the true one, the label's within two.
        return math.ceil((n_classes + 1) / self.l1_max)

    def rounded(self, rows: Rows) -> Rows:
        """The rows in so many units: (rows, classes)."""
        return apportioned(rows, self.units(rows.shape[1]))

    def disguised(self, rows: Rows, drawn: NDArray[np.uint64]) -> Rows:
        """The label with a confidence, and decoys: (rows, classes).

        Args:
            rows: the target's.
            drawn: a number of each row, which chooses its decoys.
        """
        n_classes, each = rows.shape[1], np.arange(len(rows))
        top = top_labels(rows)
        levels = np.array(self.confidences)
        nearest = np.searchsorted((levels[1:] + levels[:-1]) / 2.0, rows[each, top])
        counts = np.array([_n_decoys(level, n_classes) for level in self.confidences])[nearest]
        told = np.maximum(levels[nearest], 1.0 / n_classes)
        released = np.zeros_like(rows)
        released[each, top] = told
        first = (drawn % np.uint64(n_classes - 1)).astype(np.intp)
        shares = (1.0 - told) / counts
        for place in range(int(counts.max())):
            among = np.flatnonzero(place < counts)
            decoy = (top[among] + 1 + (first[among] + place) % (n_classes - 1)) % n_classes
            released[among, decoy] = shares[among]
        return keep_top(released, rows)


class DeceptiveRows:
    """One answer's rows in disguise, row after row."""

    __slots__ = ("_context", "_n_fed", "_spec")

    def __init__(self, spec: Deception, context: Context) -> None:
        self._spec = spec
        self._context = context
        self._n_fed = 0

    def feed(self, rows: Rows) -> Rows:
        """The rows in disguise, where it is within the distance: (rows, classes)."""
        cells = self._context.cells[self._n_fed:self._n_fed + len(rows)]
        self._n_fed += len(rows)
        if not len(rows) or rows.shape[1] < 2:
            return rows
        released = self._spec.disguised(rows, self._context.noise.numbers(cells))
        far = np.flatnonzero(np.abs(released - rows).sum(axis=1) > self._spec.l1_max + ROUND_OFF)
        if len(far):
            released[far] = PerRow(self._spec.rounded).feed(rows[far])
        return released

    def finish(self) -> Rows | None:
        """Nothing is held back."""
        return None


def _n_decoys(confidence: float, n_classes: int) -> int:
    """How many share what the label leaves, so that none comes near it."""
    return min(math.ceil((1.0 - confidence) / (LESS * confidence)) or 1, n_classes - 1)

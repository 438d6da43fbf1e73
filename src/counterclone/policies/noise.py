"""Add keyed noise to the log-odds, then quantise as coarsely."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from counterclone.answers import Context, Rows, top_labels
from counterclone.plugins import Spec

DEPTH = 16.0
"""Classes more than this many nats below the largest are released as zero."""
OF_ONE_CLASS = math.sqrt(0.5)
"""The deviation of each class's noise where that of the log-odds of two classes is 1."""

Levels = NDArray[np.float64]


class Noise(Spec, frozen=True):
    """Normal noise on the log-odds, a function of the model's epoch and of the canonical query.

    The same query gets the same noise whoever asks and however often, so averaging repeats recovers
    nothing. Queries of one canonical cell share their noise, and their difference would cancel it:
    therefore the noisy log-odds against the largest class are rounded to multiples of `scale`, a step as
    coarse as the noise. The label is then repaired, and with `keep_order` the order of the first classes.
    Classes that the target gives exactly zero stay zero. Neighbouring cells have independent noise: a
    caller who may move an input by more than its cell still averages over neighbours, which the rule
    `snap` makes dearer.

    Attributes:
        scale: standard deviation of the noise in the log-odds of two classes and step of the grid, in nats.
        keep_order: how many of the largest classes keep their order; 1 keeps the label.
    """

    scale: Annotated[float, Meta(ge=1e-6, le=8)]
    keep_order: Annotated[int, Meta(ge=1)] = 1

    may_flip: ClassVar[bool] = False
    adds_noise: ClassVar[bool] = True
    quantises: ClassVar[bool] = True

    def start(self, context: Context) -> NoisyRows:
        """Begin one answer."""
        return NoisyRows(self, context)

    def bits(self, n_classes: int) -> float:
        """Which class is largest, and a grid level for each of the others."""
        if n_classes < 2:
            return 0.0
        levels = math.floor(DEPTH / self.scale) + 2
        return math.log2(n_classes) + (n_classes - 1) * math.log2(levels)


class NoisyRows:
    """One answer's noise, row after row."""

    __slots__ = ("_context", "_n_fed", "_spec")

    def __init__(self, spec: Noise, context: Context) -> None:
        self._spec = spec
        self._context = context
        self._n_fed = 0

    def feed(self, rows: Rows) -> Rows:
        """The rows on the noisy grid: (rows, classes)."""
        cells = self._context.cells[self._n_fed:self._n_fed + len(rows)]
        self._n_fed += len(rows)
        if not len(rows):
            return rows
        noise = np.stack([self._context.noise.normals(cell, rows.shape[1]) for cell in cells])
        with np.errstate(divide="ignore"):
            log_odds = np.log(rows)
        levels = self._levels(log_odds / self._spec.scale + OF_ONE_CLASS * noise)
        _keep_order(levels, rows, min(self._spec.keep_order, rows.shape[1]))
        return _from_levels(levels, self._spec.scale)

    def finish(self) -> Rows | None:
        """Nothing is held back."""
        return None

    def _levels(self, noisy: Levels) -> Levels:
        levels: Levels = np.rint(noisy - noisy.max(axis=1, keepdims=True))
        levels[levels < -math.floor(DEPTH / self._spec.scale)] = -np.inf
        return levels


def _keep_order(levels: Levels, rows: Rows, n_kept: int) -> None:
    """Give the label the largest level, in place, and the first classes theirs in their true order."""
    top, each = top_labels(rows), np.arange(len(rows))
    if n_kept > 1:
        classes = _first_classes(rows, n_kept)
        held = np.take_along_axis(levels, classes, axis=1)
        np.put_along_axis(levels, classes, -np.sort(-held, axis=1), axis=1)
    levels[each, top] = levels.max(axis=1)
    tied = np.flatnonzero(top_labels(levels) != top)
    levels[tied, top[tied]] += 1.0


def _first_classes(rows: Rows, n_kept: int) -> NDArray[np.intp]:
    """The largest classes of each row in their order, the first of equals first: (rows, n_kept)."""
    left, each = rows.copy(), np.arange(len(rows))
    classes = np.empty((len(rows), n_kept), dtype=np.intp)
    for place in range(n_kept):
        classes[:, place] = top_labels(left)
        left[each, classes[:, place]] = -1.0  # below every other
    return classes


def _from_levels(levels: Levels, scale: float) -> Rows:
    odds = np.exp((levels - levels.max(axis=1, keepdims=True)) * scale)
    released: Rows = odds / odds.sum(axis=1, keepdims=True)
    return released

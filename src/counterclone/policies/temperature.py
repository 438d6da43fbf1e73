"""Flatten or sharpen the probabilities."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from counterclone.answers import Context, PerRow, Rows, full_bits, keep_top
from counterclone.plugins import Spec


class Temperature(Spec, frozen=True):
    """Raise each probability to 1 / `temperature` and normalise.

    Useful to undo an overconfident model before rounding. By itself it hides nothing: a caller who guesses
    the temperature inverts it. Above 1 flattens, below 1 sharpens.
    """

    temperature: Annotated[float, Meta(ge=0.05, le=20)]

    may_flip: ClassVar[bool] = False
    adds_noise: ClassVar[bool] = False
    quantises: ClassVar[bool] = False

    def start(self, context: Context) -> PerRow:
        """Begin one answer."""
        return PerRow(self.temper)

    def bits(self, n_classes: int) -> float:
        """All of them: the map is one to one."""
        return full_bits(n_classes)

    def temper(self, rows: Rows) -> Rows:
        """The tempered rows: (rows, classes)."""
        # Against the largest, so that a low temperature doesn't underflow the whole row.
        powers = np.power(rows / rows.max(axis=1, keepdims=True), 1.0 / self.temperature)
        return keep_top(powers / powers.sum(axis=1, keepdims=True), rows)

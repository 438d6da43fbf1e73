"""Release the largest probabilities only."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta

from counterclone.answers import FLOAT_BITS, Context, PerRow, Rows, full_bits, keep_top, largest, log2_choose
from counterclone.plugins import Spec


class Truncation(Spec, frozen=True):
    """Keep the `top_k` largest probabilities of each row; the rest tells nothing.

    A copier loses the order and size of the small probabilities, which carry most of what a soft label
    tells beyond the hard one. With `rest = "uniform"` the remaining mass is spread evenly over the other
    classes, so the kept values stay exact; with "drop" it is zero and the kept values are scaled to sum 1.
    Equal values at the edge keep the earlier class.
    """

    top_k: Annotated[int, Meta(ge=1)]
    rest: Literal["uniform", "drop"] = "uniform"

    may_flip: ClassVar[bool] = False
    adds_noise: ClassVar[bool] = False
    quantises: ClassVar[bool] = False

    def start(self, context: Context) -> PerRow:
        """Begin one answer."""
        return PerRow(self.truncate)

    def bits(self, n_classes: int) -> float:
        """Which classes are kept, and a float for each free value."""
        if self.top_k >= n_classes:
            return full_bits(n_classes)
        free = self.top_k if self.rest == "uniform" else self.top_k - 1
        return min(log2_choose(n_classes, self.top_k) + FLOAT_BITS * free, full_bits(n_classes))

    def truncate(self, rows: Rows) -> Rows:
        """The rows with everything below their `top_k` largest levelled: (rows, classes)."""
        n_classes = rows.shape[1]
        if self.top_k >= n_classes:
            return rows
        chosen = largest(rows, np.full(len(rows), self.top_k))
        kept = np.where(chosen, rows, 0.0)
        mass = kept.sum(axis=1, keepdims=True)
        if self.rest == "drop":
            dropped: Rows = kept / mass
            return keep_top(dropped, rows)
        level = np.maximum(1.0 - mass, 0.0) / (n_classes - self.top_k)
        # An error in the last place of `mass` must not lift the rest above its largest, or above zero.
        most = np.where(chosen, 0.0, rows).max(axis=1, keepdims=True)
        return keep_top(np.where(chosen, rows, np.minimum(level, most)), rows)

"""Send the model a representative of each cell of inputs."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from msgspec import Meta

from counterclone.plugins import Spec
from counterclone.queries import Query

EXACT = 2.0**51
"""Beyond so many steps floats are coarser than the grid, and rounding twice could differ from once."""


class Snap(Spec, frozen=True):
    """Round numeric inputs to multiples of `step` before the model sees them.

    All inputs of a cell then get one answer, so that differences inside a cell are zero and keyed noise
    can't be cancelled; the model's accuracy must bear the rounding. Inputs that aren't numbers pass.

    Attributes:
        step: the side of a cell, in the inputs' own unit.
    """

    step: Annotated[float, Meta(gt=0)]

    def __post_init__(self) -> None:
        """A step is a number."""
        if not math.isfinite(self.step):
            raise ValueError("`step` must be finite")

    def admit(self, query: Query) -> Query:
        """The query at the nearest multiples of `step`."""
        if query.features is None:
            return query
        with np.errstate(over="ignore"):
            steps = np.rint(query.features / self.step)
            snapped = np.where(np.abs(steps) < EXACT, steps * self.step, query.features)
        if np.array_equal(snapped, query.features, equal_nan=True):
            return query
        return query.with_features(snapped)

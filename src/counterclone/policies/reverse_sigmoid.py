"""Map many confidences to one (for comparison with published results)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta

from counterclone.answers import Context, PerRow, Rows, full_bits, keep_top
from counterclone.plugins import Spec

EDGE = 1e-9


class ReverseSigmoid(Spec, frozen=True):
    """Subtract a reverse sigmoid of each probability, so that several confidences look the same.

    y = p - beta (s(gamma s^-1(p)) - 1/2), normalised, with s the logistic function (Lee et al. 2018,
    Defending against neural network model stealing attacks using deceptive perturbations, section 3).
    Kept for comparison: it costs honest users much calibration, and denoising students undo most of it.
    The label is repaired where the map would change it.
    """

    beta: Annotated[float, Meta(gt=0, lt=2)] = 0.7
    gamma: Annotated[float, Meta(gt=0, le=10)] = 0.2

    may_flip: ClassVar[bool] = False
    adds_noise: ClassVar[bool] = False
    quantises: ClassVar[bool] = False

    def start(self, context: Context) -> PerRow:
        """Begin one answer."""
        return PerRow(self.deceive)

    def bits(self, n_classes: int) -> float:
        """No bound below the full row is known: the map is piecewise one to one."""
        return full_bits(n_classes)

    def deceive(self, rows: Rows) -> Rows:
        """The deceptive rows: (rows, classes)."""
        clipped = rows.clip(EDGE, 1.0 - EDGE)
        # s(gamma s^-1(p)) is the share of p^gamma in p^gamma + (1 - p)^gamma.
        ratio = np.exp(self.gamma * (np.log1p(-clipped) - np.log(clipped)))
        deceptive = clipped - self.beta * (1.0 / (1.0 + ratio) - 0.5)
        deceptive = np.maximum(deceptive, 0.0)
        return keep_top(deceptive / deceptive.sum(axis=1, keepdims=True), rows)

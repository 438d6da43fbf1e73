"""How exact the numbers in answers are, told from the numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Rows

FLOAT_BITS = 53
LEAST_BITS = 12
"""Decimals were written in a float that has more bits than this."""
MOST_DECIMALS = 12
LEAST_SHORT = 2.0**-30
"""Below it, values that are cut to few bits are zero."""


class Precision(NamedTuple):
    """The error of a value p: `absolute + relative * p`.

    Attributes:
        absolute: the part that is the same for all.
        relative: the part that grows with the value.
    """

    absolute: float
    relative: float

    @property
    def is_fine(self) -> bool:
        """Whether logarithms of ordinary probabilities are good for equations: six decimals or more."""
        return self.absolute <= 1e-6 and self.relative <= 1e-6

    def of_logs(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The error of their logarithms, infinite at zero."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values > 0.0, self.absolute / values + self.relative, np.inf)


def precision(rows: Rows) -> Precision:
    """The grid that all values lie on: decimals, or leading bits.

    Args:
        rows: probabilities, (queries, classes).
    """
    bits = _bits(rows)
    for decimals in range(MOST_DECIMALS + 1):
        units = rows * 10.0**decimals
        slack = units.max() * 2.0**-min(max(bits + 1, LEAST_BITS), FLOAT_BITS - 2)
        if slack > 0.1:
            break
        if np.abs(units - np.rint(units)).max() <= slack:
            return Precision(0.5 * 10.0**-decimals, 0.0)
    relative = 2.0**-bits
    # One of two probabilities is 1 minus the other, so that it has the other's error.
    absolute = relative if rows.shape[1] == 2 else LEAST_SHORT if bits < 24 else 0.0
    return Precision(absolute, relative)


def _bits(rows: Rows) -> int:
    """Leading bits that are used, at most 53; the largest of a row takes what is left to 1, and has more."""
    small = np.where(rows == rows.max(axis=1, keepdims=True), 0.0, rows)
    mantissas = np.ldexp(np.frexp(small)[0], FLOAT_BITS).astype(np.int64)
    used = np.bitwise_or.reduce(np.abs(mantissas), axis=None)
    trailing = int(used & -used).bit_length() - 1 if used else FLOAT_BITS
    return FLOAT_BITS - trailing

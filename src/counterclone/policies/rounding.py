"""Release fewer digits."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from msgspec import UNSET, Meta, UnsetType
from numpy.typing import NDArray

from counterclone.answers import FEW, Context, PerRow, Rows, keep_top, label_list, largest, log2_choose, top_labels
from counterclone.plugins import Spec

LEAST_EXPONENT = 30
"""With significant bits, probabilities below 2^-30 are released as zero."""


class Rounding(Spec, frozen=True):
    """Round each probability, so that the row still sums to 1 and serves the same label.

    `decimals` apportions 10^decimals equal units to the classes by largest remainders (Hamilton's method),
    so every value is within one unit of the true one, but that the label gets a second unit in the rare row
    where it would be tied. `significant_bits` keeps that many leading
    bits of every value but the largest, which takes what is left to 1; small probabilities keep their size.
    Rounding buys a constant factor in queries, not safety: at 2 decimals a copier of a linear model
    needs about ten times as many.
    """

    decimals: Annotated[int, Meta(ge=1, le=12)] | UnsetType = UNSET
    significant_bits: Annotated[int, Meta(ge=1, le=24)] | UnsetType = UNSET

    may_flip: ClassVar[bool] = False
    adds_noise: ClassVar[bool] = False
    quantises: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Exactly one of the two ways."""
        if (self.decimals is UNSET) == (self.significant_bits is UNSET):
            raise ValueError("set either `decimals` or `significant_bits`")

    def start(self, context: Context) -> PerRow:
        """Begin one answer."""
        return PerRow(self.round)

    def bits(self, n_classes: int) -> float:
        """The number of rows on the grid, as a logarithm."""
        if n_classes < 2:
            return 0.0
        if self.decimals is not UNSET:
            return log2_choose(10**self.decimals + n_classes - 1, n_classes - 1)
        assert self.significant_bits is not UNSET  # __post_init__ holds it; for the type checker
        levels = (LEAST_EXPONENT + 1) * 2 ** (self.significant_bits - 1) + 1
        return (n_classes - 1) * math.log2(levels) + math.log2(n_classes)

    def round(self, rows: Rows) -> Rows:
        """The rows on the grid: (rows, classes)."""
        if self.decimals is not UNSET:
            return apportioned(rows, 10**self.decimals)
        assert self.significant_bits is not UNSET  # as above
        return shortened(rows, self.significant_bits)


def apportioned(rows: Rows, n_units: int) -> Rows:
    """The rows in multiples of 1 / n_units, by largest remainders: (rows, classes).

    Where classes before the label have as many whole units as it has, the label is served first and they
    last, since they must stay behind it. Where one still comes to equal it, the label takes one of its units.
    """
    if rows.size <= FEW:
        return np.array([_apportioned(row, n_units) for row in rows.tolist()]).reshape(rows.shape)
    shares = rows * n_units
    units: Rows = np.rint(shares)
    units += 0.0  # no zero is negative
    # Where the nearest multiples fill the row, largest remainders would choose the same.
    top, now = label_list(rows), label_list(units)
    totals = np.add.reduce(units, axis=1).tolist()
    wrong = [i for i, total in enumerate(totals) if total != n_units or top[i] != now[i]]
    if wrong:
        units[wrong] = _by_remainders(shares[wrong], np.array(top)[wrong], n_units)
    units /= n_units
    return units


def _apportioned(row: list[float], n_units: int) -> list[float]:
    """`apportioned` for one row, to the bit: numpy takes a microsecond for each step of a few numbers."""
    shares = [value * n_units for value in row]
    units = [round(share) for share in shares]
    top = row.index(max(row))
    if sum(units) != n_units or units.index(max(units)) != top:
        units = [int(share) for share in shares]
        left = n_units - sum(units)
        remainders = [share - unit for share, unit in zip(shares, units, strict=True)]
        if units.index(max(units)) != top:
            for i in range(top):
                remainders[i] -= units[i] == units[top]
            remainders[top] += 1.0
        for i in sorted(range(len(row)), key=remainders.__getitem__, reverse=True)[:max(left, 0)]:
            units[i] += 1
        now = units.index(max(units))
        if now != top:
            units[now] -= 1
            units[top] += 1
    return [unit / n_units for unit in units]


def _by_remainders(shares: Rows, top: NDArray[np.intp], n_units: int) -> Rows:
    units = np.floor(shares)
    left = np.rint(n_units - units.sum(axis=1)).astype(np.intp)
    remainders = shares - units
    is_behind = top_labels(units) != top
    if is_behind.any():
        each = np.arange(len(units))
        ahead = (units == units[each, top][:, None]) & (np.arange(units.shape[1]) < top[:, None])
        remainders -= ahead  # those ahead come below every other
        remainders[each, top] += is_behind
    units += largest(remainders, left)
    now = top_labels(units)
    tied = np.flatnonzero(now != top)
    if len(tied):
        units[tied, now[tied]] -= 1.0
        units[tied, top[tied]] += 1.0
    return units


def shortened(rows: Rows, n_bits: int) -> Rows:
    """The rows with `n_bits` leading bits in every value but the largest: (rows, classes)."""
    mantissas, exponents = np.frexp(rows)
    scaled = np.ldexp(mantissas, n_bits)
    nearest = _to_rest(np.ldexp(np.rint(scaled), exponents - n_bits), rows)
    if (top_labels(nearest) == top_labels(rows)).all():
        return nearest
    # The largest can fall behind what it left to the others; downwards it can't.
    below = _to_rest(np.ldexp(np.floor(scaled), exponents - n_bits), rows)
    flipped = top_labels(nearest) != top_labels(rows)
    return keep_top(np.where(flipped[:, None], below, nearest), rows)


def _to_rest(short: Rows, rows: Rows) -> Rows:
    each, top = np.arange(len(rows)), top_labels(rows)
    short[short < 2.0**-LEAST_EXPONENT] = 0.0
    short[each, top] = 0.0
    short[each, top] = 1.0 - short.sum(axis=1)
    return short

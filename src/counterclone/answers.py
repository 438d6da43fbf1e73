"""Answers as rows of probabilities, and what a policy sees of the query behind them.

Rows are probabilities rather than their logarithms, since that is what classifiers send: a round trip
through logarithms would change last digits, and a one-hot row has no finite logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from counterclone.errors import AnswerError
from counterclone.queries import Query
from counterclone.randomness import Prf

Rows = NDArray[np.float64]
"""Probabilities: (rows, classes), each row non-negative with sum 1."""

FLOAT_BITS = 64
SUM_TOLERANCE = 1e-3
"""Rows of 16-bit floats still sum to 1 within this."""


class Context:
    """What a policy may know beside the rows: the noise of the model's epoch and the rows' queries.

    Attributes:
        noise: the PRF under the key of the target's model and epoch, the same for everybody.
        cells: the canonical query behind each row, (rows,).
    """

    __slots__ = ("_query", "_rows_per_query", "noise")

    def __init__(self, noise: Prf, query: Query, rows_per_query: int = 1) -> None:
        self.noise = noise
        self._query = query
        self._rows_per_query = rows_per_query

    @property
    def cells(self) -> Sequence[bytes]:
        """The canonical query behind each row; a query's second row differs from its first: (rows,)."""
        cells, repeat = self._query.cells, self._rows_per_query
        if repeat == 1:
            return cells
        return [cell + b"#%d" % i for cell in cells for i in range(repeat)]


class PerRow:
    """The release of a policy whose rows depend on nothing but themselves."""

    __slots__ = ("_apply",)

    def __init__(self, apply: Callable[[Rows], Rows]) -> None:
        self._apply = apply

    def feed(self, rows: Rows) -> Rows:
        """The released rows, shape kept: (rows, classes)."""
        return self._apply(rows)

    def finish(self) -> Rows | None:
        """Nothing is held back."""
        return None


class Answer:
    """What a target answered to one query.

    Attributes:
        scores: the outputs that hold probabilities, by name, each (rows, classes).
        is_scanned: False where the answer has floating-point outputs of which none are probabilities,
            so that nobody can say what leaves.
    """

    __slots__ = ("document", "is_scanned", "scores")

    def __init__(self, scores: dict[str, Rows], document: object, *, is_scanned: bool = True) -> None:
        self.scores = scores
        self.document = document
        self.is_scanned = is_scanned


def top_labels(rows: Rows) -> NDArray[np.intp]:
    """The label that each row serves, the first of equals: (rows,)."""
    labels: NDArray[np.intp] = rows.argmax(axis=1)
    return labels


def margins(rows: Rows) -> NDArray[np.float64]:
    """The top probability minus the second: (rows,). One class: 1."""
    if rows.shape[1] < 2:
        return np.ones(len(rows))
    top = np.partition(rows, -2, axis=1)[:, -2:]
    margin: NDArray[np.float64] = top[:, 1] - top[:, 0]
    return margin


def largest(rows: Rows, n_kept: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which entries are among the `n_kept` (rows,) largest of their row, earlier classes first among equals.

    Returns:
        (rows, classes), with `n_kept` entries true in each row.
    """
    n_classes = rows.shape[1]
    edge = np.sort(rows, axis=1)[np.arange(len(rows)), (n_classes - n_kept).clip(0, n_classes - 1)][:, None]
    above = rows > edge
    at_edge = rows == edge
    room = n_kept[:, None] - above.sum(axis=1, keepdims=True)
    chosen: NDArray[np.bool_] = above | (at_edge & (at_edge.cumsum(axis=1) <= room))
    return chosen


def full_bits(n_classes: int) -> float:
    """Bits in a row that is released as it is: every free probability as a 64-bit float."""
    return float(FLOAT_BITS * max(n_classes - 1, 0))


def log2_choose(n: int, k: int) -> float:
    """log2 of the number of ways to choose k of n."""
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(2)


def normalised(rows: Rows, name: str, tolerance: float = SUM_TOLERANCE) -> Rows:
    """The rows scaled to sum 1.

    Raises:
        AnswerError: no classes, numbers that aren't finite or are negative, or sums off by more than
            `tolerance`.
    """
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise AnswerError(f"output '{name}' has no classes (shape {rows.shape}); expected rows of "
                          "probabilities, one a class")
    if not is_finite(rows):
        raise AnswerError(f"output '{name}' holds numbers that aren't finite; expected probabilities; "
                          "look at the model's last layer")
    if len(rows) and rows.min() < 0:
        raise AnswerError(f"output '{name}' holds negative numbers; expected probabilities; apply the "
                          "softmax before the answer, or name another output in [target] scores")
    sums = rows.sum(axis=1, keepdims=True)
    if len(rows) and np.abs(sums - 1.0).max() > tolerance:
        worst = float(sums.flat[np.abs(sums - 1.0).argmax()])
        raise AnswerError(f"output '{name}' has a row that sums to {worst:.4g}; expected 1 within "
                          f"{tolerance:g}; normalise it, or name another output in [target] scores")
    scaled: Rows = rows / sums
    return scaled


def is_finite(rows: Rows) -> bool:
    """Whether every number is finite; one pass, no temporary."""
    return bool(np.isfinite(rows.sum())) or bool(np.isfinite(rows).all())


def is_simplex(rows: Rows) -> bool:
    """Whether every row is non-negative with sum 1 (the test for outputs that nobody named)."""
    if rows.ndim != 2 or rows.size == 0:
        return False
    return bool(rows.min() >= 0) and bool(np.abs(rows.sum(axis=1) - 1.0).max() <= SUM_TOLERANCE)


def keep_top(released: Rows, rows: Rows) -> Rows:
    """Swap values, in place, so that each released row serves the label that `rows` serves."""
    top, now = top_labels(rows), top_labels(released)
    if (top == now).all():
        return released
    wrong = np.flatnonzero(top != now)
    kept = released[wrong, top[wrong]]
    released[wrong, top[wrong]] = released[wrong, now[wrong]]
    released[wrong, now[wrong]] = kept
    return _break_ties(released, top, wrong)


def _break_ties(released: Rows, top: NDArray[np.intp], wrong: NDArray[np.intp]) -> Rows:
    """Lift the served label by one unit in the last place where an earlier class equals it."""
    still = wrong[top_labels(released[wrong]) != top[wrong]]
    if len(still):
        released[still, top[still]] = np.nextafter(released[still, top[still]], np.inf)
    return released

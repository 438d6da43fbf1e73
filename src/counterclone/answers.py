"""Answers as rows of probabilities, and what a policy sees of the query behind them.

Rows are probabilities rather than their logarithms, since that is what classifiers send: a round trip
through logarithms would change last digits, and a one-hot row has no finite logarithm.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.errors import AnswerError
from counterclone.queries import Query
from counterclone.randomness import Prf
from counterclone.speech import Speech

Rows = NDArray[np.float64]
"""Probabilities: (rows, classes), each row non-negative with sum 1."""

FLOAT_BITS = 64
FEW = 64
AT_ONCE = 8192
"""Numbers that a policy works on at once: temporaries of 64 KB stay near the processor, and the memory for larger
ones is asked of the system, and given back, each time."""
SUM_TOLERANCE = 1e-3
"""Rows of 16-bit floats still sum to 1 within this."""
SUM_EXACT = 1e-12
NAMED_TOLERANCE = 0.05
"""Rows of a named output may have been rounded by the server."""


class Steps(NamedTuple):
    """The tokens of a language model's answers, by their numbers; answers are as long as they were asked to be.

    Attributes:
        tokens: that were written, (queries, length).
        top: the likeliest at each place, as they are shown, the first most: (queries, length, k).
        logs: their log-probabilities in nats, likewise.
    """

    tokens: NDArray[np.int64]
    top: NDArray[np.int64]
    logs: NDArray[np.float64]


class Reply(NamedTuple):
    """What a target shows for a batch of queries.

    Attributes:
        rows: probabilities, one-hot where only labels are shown: (queries, classes); without columns where the
            target answers with texts or vectors.
        logits: the model's own scores, where they are shown: (queries, classes).
        ids: an opaque number of each answer, where it is shown, such as the leaf of a tree: (queries,).
        texts: what a language model wrote: (queries,).
        vectors: what an encoder answers: (queries, dimensions).
        steps: of a language model's texts, where tokens are shown with log-probabilities.
    """

    rows: Rows
    logits: NDArray[np.float64] | None = None
    ids: NDArray[np.int64] | None = None
    texts: Sequence[str] | None = None
    vectors: NDArray[np.float64] | None = None
    steps: Steps | None = None


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
    def query(self) -> Query:
        """What was asked."""
        return self._query

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
        if rows.size <= AT_ONCE or len(rows) == 1:
            return self._apply(rows)
        at_once = max(AT_ONCE // rows.shape[1], 1)
        return np.concatenate([self._apply(rows[i:i + at_once]) for i in range(0, len(rows), at_once)])

    def finish(self) -> Rows | None:
        """Nothing is held back."""
        return None


class Output:
    """One output of an answer that holds probabilities, and the way back into its own shape.

    Attributes:
        rows: the probabilities, (rows, classes).
        rows_per_query: rows for each query of the request, 1 for a plain classifier.
    """

    __slots__ = ("_is_binary", "_shape", "rows", "rows_per_query")

    def __init__(self, values: NDArray[np.float64], rows: Rows, n_queries: int, *, is_binary: bool) -> None:
        self.rows = rows
        self.rows_per_query = len(rows) // n_queries
        self._shape = values.shape
        self._is_binary = is_binary

    def with_rows(self, rows: Rows) -> Output:
        """The same output with other rows, (rows, classes)."""
        other = copy.copy(self)
        other.rows = rows
        return other

    def restored(self, released: Rows) -> NDArray[np.float64]:
        """Released rows in the shape that the output came in."""
        columns = released[:, :1] if self._is_binary else released
        return np.ascontiguousarray(columns).reshape(self._shape)


class Answer:
    """What a target answered to one query.

    Attributes:
        outputs: the outputs that hold probabilities, by name.
        document: the answer as its dialect keeps it, for writing it again.
        is_scanned: False where the answer has floating-point outputs of which none are probabilities, so
            that nobody can say what leaves.
        speech: what a language model or an encoder said, None from others.
    """

    __slots__ = ("document", "is_scanned", "outputs", "speech")

    def __init__(self, outputs: dict[str, Output], document: Any, *, is_scanned: bool = True,
                 speech: Speech | None = None) -> None:
        self.outputs = outputs
        self.document = document
        self.is_scanned = is_scanned
        self.speech = speech

    def with_speech(self, speech: Speech) -> Answer:
        """The same answer that says something else."""
        return Answer(self.outputs, self.document, is_scanned=self.is_scanned, speech=speech)

    @property
    def rows(self) -> Rows | None:
        """The first output's rows, one a query: (queries, classes); None where no output is probabilities."""
        for output in self.outputs.values():
            return output.rows[::output.rows_per_query] if output.rows_per_query > 1 else output.rows
        return None


def find_outputs(arrays: dict[str, NDArray[np.float64]], n_queries: int, name: str) -> dict[str, Output]:
    """The outputs that hold probabilities, among an answer's floating-point arrays.

    Args:
        arrays: the floating-point outputs by name, in any shape whose last axis is the class; rows are
            scaled to sum 1 in place.
        n_queries: rows of the request.
        name: the output that the owner named in `[target] scores`; "" takes every output whose rows are
            non-negative and sum to 1.

    Raises:
        AnswerError: the named output is missing or isn't probabilities, or another output tells what the
            probabilities were.
    """
    if name:
        if name not in arrays:
            raise AnswerError(f"the answer has no floating-point output '{name}', only "
                              f"{', '.join(sorted(arrays)) or 'none'}; correct [target] scores")
        found = {name: _named_output(arrays[name], n_queries, name)}
    else:
        found = {}
        for key, array in arrays.items():
            output = _likely_output(array, n_queries)
            if output is not None:
                found[key] = output
    for key, array in arrays.items() if len(arrays) > len(found) else ():
        if key not in found and any(_tells(array, output.rows) for output in found.values()):
            raise AnswerError(f"output '{key}' holds the logits of the probabilities that are guarded; drop "
                              "it from the model's answer")
    return found


def _likely_output(array: NDArray[np.float64], n_queries: int) -> Output | None:
    if array.ndim == 1 and n_queries != 1:
        return None  # one number a query: a label or a regression
    rows = array if array.ndim == 2 or not array.size else array.reshape(-1, array.shape[-1])
    if rows.ndim != 2 or not rows.size or rows.shape[1] < 2 or len(rows) % n_queries:
        return None
    error = sum_error(rows)
    if error > SUM_TOLERANCE:
        return None
    if error > SUM_EXACT:
        sums = rows.sum(axis=1, keepdims=True)
        rows = np.divide(rows, sums, out=rows if rows.flags.writeable else None)
    return Output(array, rows, n_queries, is_binary=False)


def _named_output(array: NDArray[np.float64], n_queries: int, name: str) -> Output:
    is_binary = array.size == n_queries
    if is_binary:  # one probability a query: that of the positive class
        column = array.reshape(-1, 1)
        rows = np.hstack([column, 1.0 - column])
    else:
        rows = array.reshape(-1, array.shape[-1]) if array.ndim and array.shape[-1] else np.empty((1, 0))
    if len(rows) % n_queries:
        raise AnswerError(f"output '{name}' has {len(rows)} rows for {n_queries} queries; expected as many; "
                          "name an output with one row a query in [target] scores")
    return Output(array, normalised(rows, name, NAMED_TOLERANCE), n_queries, is_binary=is_binary)


def _tells(array: NDArray[np.float64], rows: Rows) -> bool:
    """Whether an output of the same size is the logits of the rows."""
    if array.size != rows.size or array.shape[-1] != rows.shape[1]:
        return False
    logits = array.reshape(rows.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return bool(np.allclose(odds / odds.sum(axis=1, keepdims=True), rows, atol=SUM_TOLERANCE))


def top_labels(rows: Rows) -> NDArray[np.intp]:
    """The label that each row serves, the first of equals: (rows,)."""
    if rows.size <= FEW:  # argmax gives up the interpreter's lock, and another thread may keep it for long
        return np.array(label_list(rows), dtype=np.intp)
    labels: NDArray[np.intp] = rows.argmax(axis=1)
    return labels


def label_list(rows: Rows) -> list[int]:
    """`top_labels` as numbers of Python's own, which are cheaper for few rows: (rows,)."""
    if rows.size <= FEW:
        return [row.index(max(row)) for row in rows.tolist()]
    labels: list[int] = rows.argmax(axis=1).tolist()
    return labels


def sum_error(rows: Rows) -> float:
    """How far rows are from probabilities: the largest distance of a sum from 1.

    Infinite where a number is negative or isn't one.
    """
    if rows.size <= FEW:
        worst = 0.0
        for row in rows.tolist():
            error = abs(sum(row) - 1.0)
            if not (error < math.inf and min(row) >= 0.0):  # as it stands, NaN is out too
                return math.inf
            worst = max(worst, error)
        return worst
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.minimum.reduce(rows, axis=None) >= 0.0:
            return math.inf
        largest_error = float(np.abs(np.add.reduce(rows, axis=1) - 1.0).max())
    return math.inf if math.isnan(largest_error) else largest_error


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
    # 32 bits sort in half the time; all 64 are needed only where those don't tell.
    single = rows.astype(np.float32)
    chosen: NDArray[np.bool_] = single >= _edge(single, n_kept)
    unclear = np.flatnonzero(np.count_nonzero(chosen, axis=1) != n_kept)
    if len(unclear):
        chosen[unclear] = _largest_of_all_bits(rows[unclear], n_kept[unclear])
    return chosen


def _edge(rows: NDArray[Any], n_kept: NDArray[np.intp]) -> NDArray[Any]:
    """The least of the `n_kept` largest entries of each row, the largest where none is kept: (rows, 1)."""
    n_classes = rows.shape[1]
    places = np.minimum(n_classes - n_kept, n_classes - 1)
    edges: NDArray[Any] = np.sort(rows, axis=1)[np.arange(len(rows)), places][:, None]
    return edges


def _largest_of_all_bits(rows: Rows, n_kept: NDArray[np.intp]) -> NDArray[np.bool_]:
    edge = _edge(rows, n_kept)
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
    with np.errstate(over="ignore"):
        sums = rows.sum(axis=1, keepdims=True)
    if len(rows) and np.abs(sums - 1.0).max() > tolerance:
        worst = float(sums.flat[np.abs(sums - 1.0).argmax()])
        raise AnswerError(f"output '{name}' has a row that sums to {worst:.4g}; expected 1 within "
                          f"{tolerance:g}; normalise it, or name another output in [target] scores")
    scaled: Rows = rows / sums
    return scaled


def is_finite(rows: Rows) -> bool:
    """Whether every number is finite; one pass, no temporary."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(rows.sum())) or bool(np.isfinite(rows).all())


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

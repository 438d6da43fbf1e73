"""A Python callable as a target."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import NAMED_TOLERANCE, Reply, Rows
from counterclone.errors import TargetError, TargetSlow
from counterclone.queries import Inputs
from counterclone.targets.parts import joined

Predict = Callable[[Any], Any]
ROWS_AT_ONCE = 1000
Returns = Literal["scores", "logits", "texts", "vectors"]


class Local:
    """A callable that takes a batch and returns scores: `(n, d) floats -> (n, K)`, or `list[str] -> (n, K)`.

    It is called in one thread of its own, since a call that hangs can't be ended, with a thousand rows at most.

    Args:
        predict: the model.
        returns: `scores` are probabilities, `logits` are any numbers whose softmax they are, `texts` are what a
            language model wrote: `list[str] -> list[str]`, `vectors` an encoder's: `-> (n, dimensions)`.
        ids: gives an opaque number for each query, where the API shows one: `(n, d) -> (n,)`.
        seconds: how long a call may take.
    """

    def __init__(self, predict: Predict, *, returns: Returns = "scores",
                 ids: Predict | None = None, seconds: float = 60.0) -> None:
        self._predict = predict
        self._returns = returns
        self._ids = ids
        self._seconds = seconds
        self._calls: queue.SimpleQueue[tuple[Predict, Inputs] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Any, Exception | None]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True, name="target").start()

    async def query(self, inputs: Inputs) -> Reply:
        """The callable's answers.

        Raises:
            TargetError: it raised, or what it returned isn't what was promised.
            TargetSlow: it took too long; it can't be asked again.
        """
        if len(inputs) <= ROWS_AT_ONCE:
            return self._ask(inputs)
        starts = range(0, len(inputs), ROWS_AT_ONCE)
        return joined([self._ask(inputs[start:start + ROWS_AT_ONCE]) for start in starts])

    def _ask(self, inputs: Inputs) -> Reply:
        if self._returns == "texts":
            return Reply(np.empty((len(inputs), 0)), texts=_texts(self._call(self._predict, inputs), len(inputs)))
        values = _numbers(self._call(self._predict, inputs), len(inputs))
        if self._returns == "vectors":
            return Reply(np.empty((len(inputs), 0)), vectors=values)
        ids = None if self._ids is None else _whole(self._call(self._ids, inputs), len(inputs))
        if self._returns == "logits":
            return Reply(softmax(values), values, ids)
        return Reply(_probabilities(values), None, ids)

    def close(self) -> None:
        """End the thread, once a call that is under way has."""
        self._calls.put(None)

    def _work(self) -> None:
        while call := self._calls.get():
            function, inputs = call
            try:
                self._results.put((function(inputs), None))
            except Exception as error:
                self._results.put((None, error))

    def _call(self, function: Predict, inputs: Inputs) -> Any:
        self._calls.put((function, inputs))
        try:
            result, error = self._results.get(timeout=self._seconds)
        except queue.Empty:
            raise TargetSlow(f"the target didn't answer {len(inputs)} queries in {self._seconds:g} seconds; look "
                             "at it, or give it more time") from None
        if error is not None:
            raise TargetError(f"the target raised {type(error).__name__}: {error}; it was asked {len(inputs)} "
                              "queries") from error
        return result


def softmax(logits: NDArray[np.float64]) -> Rows:
    """Probabilities of logits: (rows, classes)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows: Rows = powers / powers.sum(axis=1, keepdims=True)
    return rows


def _numbers(result: Any, n_queries: int) -> NDArray[np.float64]:
    """What a model returned as finite numbers, (queries, classes).

    Raises:
        TargetError: it is something else.
    """
    expected = f"expected ({n_queries}, classes)"
    try:
        values = np.asarray(result, dtype=np.float64)
    except (TypeError, ValueError):
        raise TargetError(f"the target returned a {type(result).__name__} that is no array of numbers; "
                          f"{expected}") from None
    if values.ndim == 1 and len(values) == n_queries:
        raise TargetError(f"the target returned shape {values.shape}, which are labels or one class's scores; "
                          f"{expected}, one-hot rows where it has labels only")
    if values.ndim != 2 or len(values) != n_queries or values.shape[1] < 2:
        raise TargetError(f"the target returned shape {values.shape} for {n_queries} queries; {expected}")
    if not np.isfinite(values).all():
        raise TargetError("the target returned NaN or infinity; expected finite numbers")
    return values


def _texts(result: Any, n_queries: int) -> list[str]:
    """What a language model returned.

    Raises:
        TargetError: it is something else.
    """
    texts = result if isinstance(result, list) and all(isinstance(each, str) for each in result) else []
    if len(texts) != n_queries:
        raise TargetError(f"the target returned a {type(result).__name__} for {n_queries} queries; expected a "
                          "list with a text for each")
    return texts


def _probabilities(values: NDArray[np.float64]) -> Rows:
    if (values < 0.0).any():
        raise TargetError("the target returned negative numbers; expected rows of probabilities; say so where "
                          "they are logits")
    sums = values.sum(axis=1)
    if (np.abs(sums - 1.0) > NAMED_TOLERANCE).any():
        worst = sums[np.abs(sums - 1.0).argmax()]
        raise TargetError(f"the target returned a row that sums to {worst:.4g}; expected rows of probabilities, "
                          "which sum to 1; normalise them, or say so where they are logits")
    return values


def _whole(result: Any, n_queries: int) -> NDArray[np.int64]:
    ids = np.asarray(result)
    if ids.shape != (n_queries,) or ids.dtype.kind not in "iu":
        raise TargetError(f"the target's ids have shape {ids.shape} and type {ids.dtype}; expected {n_queries} "
                          "whole numbers")
    return ids.astype(np.int64)

"""Inputs that an owner brings, checked: what is wrong with them is said before a query is spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.driver import as_bytes
from counterclone.errors import ConfigError
from counterclone.fidelity import Labels
from counterclone.queries import Features, Inputs

FEW_POOLED, FEW_EVALUATED = 20, 100
Warn = Callable[[str], None]


class Data(NamedTuple):
    """Inputs and, where they are known, their true labels.

    Attributes:
        inputs: (n, features), or texts.
        labels: (n,), as they were given.
    """

    inputs: Inputs
    labels: NDArray[Any] | None = None

    def take(self, rows: NDArray[np.intp]) -> Data:
        """Some of the rows, in this order."""
        inputs = self.inputs[rows] if isinstance(self.inputs, np.ndarray) else [self.inputs[i] for i in rows]
        return Data(inputs, None if self.labels is None else self.labels[rows])


def as_data(given: Any, where: str) -> Data:
    """What a user gave: inputs, or a pair of inputs and labels.

    Args:
        given: numbers of shape (n, features), a list of texts, or a pair.
        where: its name in messages.

    Raises:
        ConfigError: it is something else.
    """
    inputs, labels = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    data = Data(as_inputs(inputs, where), None if labels is None else np.asarray(labels))
    if data.labels is not None and data.labels.shape != (len(data.inputs),):
        raise ConfigError(f"{where}: {len(data.inputs)} inputs have labels of shape {data.labels.shape}; expected "
                          "one for each")
    return data


def as_inputs(values: Any, where: str) -> Inputs:
    """Numbers of shape (n, features), or texts.

    Raises:
        ConfigError: they are neither.
    """
    if isinstance(values, Sequence) and values and all(isinstance(value, str) for value in values):
        return list(values)
    try:
        array = np.asarray(values)
    except ValueError:
        raise ConfigError(f"{where}: its rows differ in length; expected (n, features)") from None
    if array.dtype.kind in "UT" and array.ndim == 1:
        return [str(value) for value in array]
    if array.ndim != 2 or not array.size:
        raise ConfigError(f"{where}: has shape {array.shape}; expected (n, features) numbers, or a list of texts")
    if array.dtype.kind in "biuf":
        return array.astype(np.float64)
    return _as_numbers(array, where)


def _as_numbers(array: NDArray[Any], where: str) -> Features:
    numbers = np.full(array.shape, np.nan)
    for row, column in np.ndindex(array.shape):
        value: Any = array[row, column]
        try:
            numbers[row, column] = np.nan if value is None else value
        except (ValueError, TypeError):
            raise ConfigError(f"{where}: column {column} holds text or objects, such as {str(value)!r}; expected "
                              "numbers, encoded as the model's callers encode them") from None
    return numbers


def complete(data: Data, where: str, warn: Warn) -> Data:
    """The rows without missing values.

    Raises:
        ConfigError: there are none.
    """
    if isinstance(data.inputs, list):
        return data
    good: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(data.inputs), axis=1)
    n_bad = int((~good).sum())
    if n_bad == len(good):
        raise ConfigError(f"{where}: every row has a missing or infinite value; expected numbers")
    if n_bad:
        warn(f"{where}: {n_bad} of {len(good)} rows have missing or infinite values and were left out, the first "
             f"is row {int(np.flatnonzero(~good)[0])}")
    return data.take(np.flatnonzero(good))


def distinct(pool: Data, evaluate: Inputs, warn: Warn) -> Data:
    """The pool without duplicates and without what fidelity is told by.

    Raises:
        ConfigError: nothing is left.
    """
    rows, held_out = as_bytes(pool.inputs), set(as_bytes(evaluate))
    first: dict[bytes, int] = {}
    for number, row in enumerate(rows):
        first.setdefault(row, number)
    kept = [number for row, number in first.items() if row not in held_out]
    if n_twice := len(rows) - len(first):
        warn(f"pool: {n_twice} of {len(rows)} rows are duplicates and were left out")
    if n_shared := len(first) - len(kept):
        warn(f"pool: {n_shared} rows are among the inputs that fidelity is told by, and were left out of the pool")
    if not kept:
        raise ConfigError("pool: no row is left that isn't also evaluated on; give other inputs")
    if len(kept) < FEW_POOLED:
        warn(f"pool: it has {len(kept)} rows only, so attacks that learn are under-reported")
    return pool.take(np.array(kept))


def class_numbers(labels: NDArray[Any] | None, names: NDArray[Any] | None, n_classes: int,
                  where: str) -> Labels | None:
    """True labels as the places of their classes in an answer, (n,).

    Args:
        labels: as they were given, (n,).
        names: of the classes in their order, where the model tells them.
        n_classes: of an answer.
        where: the labels' name in messages.

    Raises:
        ConfigError: a label is no class.
    """
    if labels is None:
        return None
    if names is not None and len(names) == n_classes:
        places = {str(name): place for place, name in enumerate(names.tolist())}
        found = [places.get(str(label), -1) for label in labels.tolist()]
        numbers = np.array(found, dtype=np.intp)
    elif labels.dtype.kind in "biuf" and np.isfinite(labels.astype(np.float64)).all():
        numbers = labels.astype(np.intp)
        numbers[numbers != labels] = -1
    else:
        numbers = np.full(len(labels), -1)
    wrong = np.flatnonzero((numbers < 0) | (numbers >= n_classes))
    if len(wrong):
        raise ConfigError(f"{where}: label {labels[wrong[0]]!r} of row {wrong[0]} is no class; expected the "
                          f"class's place in an answer, 0 to {n_classes - 1}")
    return numbers

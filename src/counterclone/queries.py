"""Accounts, queries and their canonical form.

Two queries with equal canonical rows count as the same query: they get the same noise, and repeating one
with a last digit changed buys nothing. Numbers are canonical at eight significant bits (as bfloat16),
anything smaller than 1/1024 is zero; text is compared without case, width and runs of space. The rule
`snap` makes cells of the owner's choice instead.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]
"""Numeric inputs: (queries, features)."""

ZERO_BELOW = 2.0**-10
_HALF_STEP = np.uint32(0x8000)
_SHIFT = np.uint32(16)


class Account(NamedTuple):
    """One caller, by a keyed hash; `category` names its account class, "" for everybody else's."""

    id: str
    category: str = ""


class Query:
    """The rows of one request, as the guard sees them.

    Attributes:
        model: the model's name in the request, "" where the format has none.
        features: (n_rows, d) where every input is a number, else None.
        values: the rows as parsed JSON, where `features` is None.
        n_rows: rows, which is what limits count.
    """

    __slots__ = ("_cells", "features", "model", "n_rows", "values")

    def __init__(self, *, features: Features | None = None, values: Sequence[object] = (),
                 model: str = "") -> None:
        self.features = features
        self.values = values
        self.model = model
        self.n_rows = len(values) if features is None else len(features)
        self._cells: list[bytes] | None = None

    def with_features(self, features: Features) -> Query:
        """The same request with other numeric inputs: (n_rows, d)."""
        return Query(features=features, model=self.model)

    @property
    def cells(self) -> list[bytes]:
        """The canonical form of each row: (n_rows,)."""
        if self._cells is None:
            if self.features is not None:
                self._cells = canonical_features(self.features)
            else:
                self._cells = [canonical_value(value) for value in self.values]
        return self._cells


def canonical_features(features: Features) -> list[bytes]:
    """The canonical form of numeric rows (queries, features), two bytes a number."""
    with np.errstate(over="ignore"):  # beyond float32 is one cell, infinity
        single = features.astype("<f4")
    single[np.abs(single) < ZERO_BELOW] = 0.0
    words = ((single.view("<u4") + _HALF_STEP) >> _SHIFT).astype("<u2")
    return [row.tobytes() for row in words]


def canonical_value(value: object) -> bytes:
    """The canonical form of one row that isn't all numbers: text, objects, mixtures."""
    return msgspec.json.encode(_canonical(value))


def _canonical(value: object) -> object:
    if isinstance(value, str):
        return " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return canonical_features(np.array([[float(value)]]))[0].hex()
    if isinstance(value, dict):
        return {key: _canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    raise TypeError(f"a query holds JSON values, not {type(value).__name__}")

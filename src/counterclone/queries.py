"""Accounts, queries and their canonical form.

Two queries with equal canonical rows count as the same query: they get the same noise, and repeating one
with a last digit changed buys nothing. Numbers are canonical at eight significant bits (as bfloat16),
anything smaller than 1/1024 is zero; text is compared without case, width and runs of space. The rule
`snap` makes cells of the owner's choice instead.
"""

from __future__ import annotations

import contextlib
import math
import unicodedata
from array import array
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]
"""Numeric inputs: (queries, features)."""
Inputs = Features | list[str]
"""A batch of queries as a model takes it: numbers, or texts."""



class Prompt(str):
    """A text for a language model with the request's own settings; a plain text has none.

    Attributes:
        bias: what is added to the logits of tokens, by their numbers.
        top: how many of the likeliest tokens are asked for with their log-probabilities.
    """

    __slots__ = ("bias", "top")
    bias: Mapping[int, float]
    top: int

    def __new__(cls, text: str, bias: Mapping[int, float] | None = None, top: int = 0) -> Prompt:
        """A text with settings."""
        prompt = super().__new__(cls, text)
        prompt.bias = bias or {}
        prompt.top = top
        return prompt

    @property
    def settings(self) -> bytes:
        """All but the text, the same for equal settings."""
        return b"%d%r" % (self.top, sorted(self.bias.items()))


ZERO_BELOW = 2.0**-10
LARGEST = 1e38
DEEPEST = 100
"""Rows that differ only where they are nested deeper count as equal."""
LONGEST_NUMBER = 400
"""Characters; longer text isn't tried for a number."""
_HALF_STEP = np.uint32(0x8000)
_SHIFT = np.uint32(16)
_NUMBERS, _LISTS = {int, float, bool}, {list, tuple}


class Account(NamedTuple):
    """One caller, by a keyed hash.

    Attributes:
        id: 16 hexadecimal digits.
        account_class: the name of its `[[accounts.class]]`, "" for everybody else.
    """

    id: str
    account_class: str = ""


class Sampling(msgspec.Struct, frozen=True, gc=False):
    """What a request asks of a language model beside its text.

    Attributes:
        logprobs: alternatives that it asks for with each token, 0 for the written token's alone, None for no
            log-probabilities.
        bias: what is added to the logits of tokens, by the tokens' names; a token that is forced or forbidden
            counts as 100 or -100.
        n: answers to each prompt.
        best_of: answers that the server writes to choose them from.
        is_repeatable: whether the same request gets the same text: temperature 0, or a seed.
        max_tokens: that an answer may have, None where nobody says.
    """

    logprobs: int | None = None
    bias: Mapping[str, float] = {}
    n: int = 1
    best_of: int = 1
    is_repeatable: bool = False
    max_tokens: int | None = None


class Query(msgspec.Struct, gc=False, eq=False):
    """The rows of one request.

    Rows are turned into numbers and into canonical form only when somebody asks: the path of a request has
    no time for what the journal can do for hundreds at once. Thousands may wait there, so the garbage
    collector isn't to walk them.

    Attributes:
        values: the rows as parsed JSON, or (n_rows, d) numbers where the format has tensors.
        model: the model's name in the request, "" where the format has none.
        sampling: what is asked of a language model beside its text, None where none is asked.
    """

    values: Sequence[object] | Features
    model: str = ""
    sampling: Sampling | None = None
    _features: Features | None = None
    _is_loaded: bool = False
    _cells: list[bytes] | None = None

    @property
    def n_rows(self) -> int:
        """Rows, which is what limits count."""
        return len(self.values)

    @property
    def features(self) -> Features | None:
        """The rows as numbers, (n_rows, d); None where an input isn't a number."""
        if not self._is_loaded:
            self._features = as_features(self.values)
            self._is_loaded = True
        return self._features

    def with_features(self, features: Features) -> Query:
        """The same request with other numeric inputs: (n_rows, d)."""
        return Query(features, model=self.model)

    def with_sampling(self, sampling: Sampling) -> Query:
        """The same request, sampled in another way."""
        return Query(self.values, self.model, sampling, self._features, self._is_loaded, self._cells)

    @property
    def cells(self) -> list[bytes]:
        """The canonical form of each row: (n_rows,)."""
        if self._cells is None:
            features = self.features
            if features is not None:
                self._cells = canonical_features(features)
            else:
                self._cells = [_cell(value) for value in self.values]
        return self._cells


def as_features(values: Sequence[object] | Features) -> Features | None:
    """Rows as numbers, (rows, d), true and false as 1 and 0; None where one isn't numbers or they are ragged."""
    if isinstance(values, np.ndarray):
        return _as_flat_features(values)
    flat = array("d")  # takes numbers alone, and takes them faster than numpy does
    try:
        for row in values:
            flat.fromlist(row)  # type: ignore[arg-type]
        matrix = np.frombuffer(flat).reshape(len(values), -1 if flat else 0)
    except (TypeError, ValueError, OverflowError):
        return _as_flat_features(values)
    width = matrix.shape[1]
    return matrix if all(len(row) == width for row in values) else None  # type: ignore[arg-type]


def _as_flat_features(values: Sequence[object] | Features) -> Features | None:
    """Rows that aren't lists of numbers themselves: tensors, single numbers, or something else."""
    found = numbers(values)
    if found is None and isinstance(values, list):
        found = numbers([_spelled_out(value, 0) if isinstance(value, list) else value for value in values])
    if found is None:
        return None
    width = math.prod(found.shape[1:])  # reshape can't infer it where there are no rows
    return found.reshape(len(values), width).astype(np.float64, copy=False)


def numbers(values: object) -> NDArray[np.float64] | NDArray[np.int64] | None:
    """A JSON array as an array of numbers; None where it holds anything else or is ragged."""
    if not _holds_numbers(values, 0):
        return None
    try:
        found = np.asarray(values)
    except ValueError:
        return None
    return found if found.dtype.kind in "fiub" else None


def _holds_numbers(values: object, depth: int) -> bool:
    """Whether lists hold nothing else: numpy would make room for the longest text in each place."""
    if isinstance(values, np.ndarray):
        return True
    if not isinstance(values, list | tuple) or depth > DEEPEST:
        return type(values) in _NUMBERS
    kinds = set(map(type, values))
    return kinds <= _NUMBERS or (kinds <= _LISTS and all(_holds_numbers(inner, depth + 1) for inner in values))


def _spelled_out(value: object, depth: int) -> object:
    """Lists with the numbers that they hold as text: lenient servers read both, so both are one query."""
    if isinstance(value, list) and depth < DEEPEST:
        return [_spelled_out(inner, depth + 1) for inner in value]
    if isinstance(value, str) and len(value) <= LONGEST_NUMBER:
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def _cell(value: object) -> bytes:
    """One row's canonical form, whatever the other rows are."""
    alone = as_features([value])
    return canonical_value(value) if alone is None else canonical_features(alone)[0]


def canonical_features(features: Features) -> list[bytes]:
    """The canonical form of numeric rows (queries, features), two bytes a number."""
    single = features.clip(-LARGEST, LARGEST).astype("<f4")
    single[np.abs(single) < ZERO_BELOW] = 0.0
    words = ((single.view("<u4") + _HALF_STEP) >> _SHIFT).astype("<u2")
    return [row.tobytes() for row in words]


def canonical_value(value: object) -> bytes:
    """The canonical form of one row that isn't all numbers: text, objects, mixtures."""
    return msgspec.json.encode(_canonical(value, 0))


def _canonical(value: object, depth: int) -> object:
    if depth > DEEPEST:
        return None
    if isinstance(value, str):
        if depth:
            number = _spelled_out(value, 0)
            if isinstance(number, float):
                return _canonical(number, depth)
        return " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    if (isinstance(value, bool) and not depth) or value is None:
        return value
    if isinstance(value, int | float):
        return canonical_features(np.array([[_as_float(value)]]))[0].hex()
    if isinstance(value, dict):
        return {key: _canonical(value[key], depth + 1) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_canonical(item, depth + 1) for item in value]
    raise TypeError(f"a query holds JSON values, not {type(value).__name__}")


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond every float
        return math.inf if value > 0 else -math.inf

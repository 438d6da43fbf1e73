"""Release fewer log-probabilities, with fewer digits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from counterclone.answers import FLOAT_BITS, Context
from counterclone.plugins import Spec
from counterclone.speech import Logprobs as Told
from counterclone.speech import Speech

DEPTH = 10_000.0
"""Servers write -9999 for what can't be."""


class Logprobs(Spec, frozen=True):
    """Show the likeliest `top` tokens, rounded to `decimals`.

    The log-probabilities of a few prompts tell the size of a model's last layer, and with biases on the logits all
    of it (Carlini et al. 2024, Stealing Part of a Production Language Model); as soft labels they make students of
    it cheaper. A rounded logarithm keeps small probabilities apart, which a rounded probability doesn't. Where the
    request had `logit_bias`, none are shown unless `with_logit_bias` says so: a bias moves any token into the
    shown ones, and so brings the rest out one after the other. Equal ones keep the server's order. Prompts' own
    log-probabilities leave no more, and neither do others in shapes that nobody reads.

    Attributes:
        top: alternatives shown with each token at most; 0 shows the written token's number alone.
        decimals: digits behind the point.
        with_logit_bias: whether requests with `logit_bias` get log-probabilities too.
    """

    top: Annotated[int, Meta(ge=0, le=1000)] = 5
    decimals: Annotated[int, Meta(ge=0, le=15)] = 2
    with_logit_bias: bool = False

    edits: ClassVar[frozenset[str]] = frozenset({"logprobs"})

    @property
    def value_bits(self) -> float:
        """Which of the grid's numbers."""
        return min(math.log2(DEPTH * 10.0**self.decimals), float(FLOAT_BITS))

    def open(self, context: Context) -> Shown:
        """Begin one answer."""
        sampling = context.query.sampling
        return Shown(self, hides_all=bool(sampling and sampling.bias) and not self.with_logit_bias)

    def shorten(self, told: Told) -> Told:
        """The likeliest of each token on the grid; others are NaN."""
        top = told.top
        if top.shape[1] > self.top:
            top = _largest(top, self.top)
        return Told(_rounded(told.chosen, self.decimals), _rounded(top, self.decimals))


class Shown:
    """One answer's log-probabilities, token after token."""

    __slots__ = ("_hides_all", "_spec")

    def __init__(self, spec: Logprobs, *, hides_all: bool) -> None:
        self._spec = spec
        self._hides_all = hides_all

    def feed(self, speech: Speech) -> Speech:
        """What leaves of a piece."""
        told = speech.logprobs
        if told is None and not speech.hides:
            return speech
        shown = None if told is None or self._hides_all else self._spec.shorten(told)
        return speech._replace(logprobs=shown, hides=False)

    def finish(self) -> Mapping[str, str]:
        """Nothing is held back."""
        return {}


def _rounded(values: NDArray[np.float64], decimals: int) -> NDArray[np.float64]:
    """Rounded, without a negative zero."""
    return values.round(decimals) + 0.0


def _largest(top: NDArray[np.float64], n_kept: int) -> NDArray[np.float64]:
    """NaN in the place of all but the largest of each row, the first of equals first."""
    shown = top.copy()
    if n_kept and (np.isnan(top[:, 1:]) | (top[:, 1:] <= top[:, :-1])).all():
        shown[:, n_kept:] = math.nan  # as servers sort them
        return shown
    order = np.argsort(np.where(np.isnan(top), math.inf, -top), axis=1, kind="stable")
    np.put_along_axis(shown, order[:, n_kept:], math.nan, axis=1)
    return shown

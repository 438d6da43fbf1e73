"""How much a text is like others, by its short phrases: hashed, and weighed by a linear model."""

from __future__ import annotations

import functools
import importlib.resources
import math
import re
import unicodedata
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PLACES_BITS = 15
LONGEST = 16_384
"""Characters; of a longer text only its ends are read, so that a caller can't buy work with length."""

Places = NDArray[np.intp]

STEM = 5
"""Letters of a word that count, so that its forms are one."""
SHORT = 16
"""Words; a longer text has more runs, and so a larger sum by chance."""
PER_LENGTH = 20.0
"""What is taken from the sum for each factor of e in length."""

_WORD = re.compile(r"[^\W_]+")
_ORDERS = ((0,), (1, 0), (2, 0))
"""Phrases that end at a word, by how far before it their words are."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def places(text: str) -> Places:
    """Where each phrase's weight is, phrases by the word that they end at: (words, 3)."""
    text = _ends(unicodedata.normalize("NFKC", _ends(text)))  # which may be 18 times as long
    words = _WORD.findall(text.casefold())
    before = max(map(max, _ORDERS))
    codes = np.zeros(len(words) + before, dtype=np.uint64)
    # JSON may hold half a surrogate pair, which only surrogatepass encodes
    codes[before:] = [zlib.crc32(word[:STEM].encode("utf-8", "surrogatepass")) for word in words]
    found = np.empty((len(words), len(_ORDERS)), dtype=np.intp)
    for order, distances in enumerate(_ORDERS):
        phrase = np.full(len(words), order, dtype=np.uint64)
        for distance in distances:
            phrase = (phrase ^ codes[before - distance:len(codes) - distance]) * _MULTIPLIER
            phrase ^= phrase >> np.uint64(29)
        found[:, order] = phrase * _MULTIPLIER >> np.uint64(64 - PLACES_BITS)
    return found


def _ends(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST // 2]} {text[-LONGEST // 2:]}"


class Model(NamedTuple):
    """Weights of phrases, and what their sums mean.

    Attributes:
        weights: whole numbers, so that sums have no order, (places,).
        middle: the weight that scores 0.5.
        slope: of the score's log-odds.
    """

    weights: NDArray[np.int8]
    middle: float
    slope: float

    def heaviest(self, found: Places) -> Places:
        """The run of words whose weights have the largest sum, so that no other text hides it: (words, 3)."""
        sums, low = self._sums(found)
        end = int((sums - low).argmax())
        return found[int(sums[:end + 1].argmin()):end]

    def weigh(self, found: Places) -> float:
        """The sum of the heaviest run's weights, less what length alone gives."""
        sums, low = self._sums(found)
        return int((sums - low).max()) - PER_LENGTH * math.log(max(len(found) / SHORT, 1.0))

    def _sums(self, found: Places) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The sums up to each word, and the lowest so far, (words + 1,) each."""
        sums = np.zeros(len(found) + 1, dtype=np.int64)
        np.cumsum(self.weights[found].sum(axis=1, dtype=np.int64), out=sums[1:])
        return sums, np.minimum.accumulate(sums)

    def score(self, text: str) -> float:
        """How much a text is like those that the model was made for, 0 to 1."""
        return 0.5 + 0.5 * math.tanh(0.5 * self.slope * (self.weigh(places(text)) - self.middle))

    def save(self, path: Path) -> None:
        """Write the weights and the two numbers."""
        np.savez_compressed(path, weights=self.weights, scale=np.array([self.middle, self.slope]))


@functools.cache
def model(name: str) -> Model:
    """A model that ships with the package."""
    with (importlib.resources.files("counterclone.rules") / f"{name}.npz").open("rb") as file, \
            np.load(file, allow_pickle=False) as content:
        middle, slope = content["scale"].tolist()
        return Model(content["weights"], middle, slope)

"""Queries as vectors of one fixed size, for the journal and for whatever compares queries.

The same query gives the same vector for ever: another encoding is another `ENCODER_VERSION`, and the
journal's files name theirs. Vectors hold 16-bit floats, so what a live reader sees is what a replay sees.
"""

from __future__ import annotations

import functools
import unicodedata
import zlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from counterclone.queries import Features
from counterclone.randomness import Prf

ENCODER_VERSION = "1"
VECTOR_SIZE = 64
MAX_CHARACTERS = 4096
"""Only the start of a text is encoded, so that a caller can't buy work with length."""

Vectors = NDArray[np.float32]
"""One vector a row, every number exact in 16 bits: (rows, 64)."""

_IDENTITY_UP_TO = 2.0**15
_STEP_PER_DOUBLING = 32.0  # the distance of neighbours among 16-bit floats beyond 2**15
_LARGEST = 2.0**960  # leaves room to add up as many numbers as a body can hold
_CHUNK = 4096
_SUM_BITS = 40  # 4,096 such numbers add up to less than 2**53
_SMALLEST_EXPONENT = -900  # smaller rows are zero anyway, and their scale would be infinite
_KEPT_CHUNKS = 16  # 4 MB; signs of features beyond 65,536 are drawn again each time
_SIGNS = Prf.from_secret(f"counterclone encoder {ENCODER_VERSION}")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def encode_features(features: Features) -> Vectors:
    """Vectors of numeric rows: (rows, features) to (rows, 64).

    Up to 64 features are kept as they are, with zeros behind them. More are projected by a public matrix
    of random signs over 8, which keeps distances to about 18 % (one standard deviation). Beyond 32,768 a
    number grows by 32 for each doubling, so that order is kept and everything is finite; infinities are
    very large numbers, and what isn't a number is zero. Numbers under 3e-8 become zero.

    Args:
        features: any numbers, any count of features.
    """
    return compact_features(features).astype(np.float32)


def compact_features(features: Features) -> NDArray[np.float16]:
    """The vectors of `encode_features` in 16 bits, as the journal keeps them: (rows, 64)."""
    values = features if _largest(features) <= _LARGEST else _finite(features)
    if values.shape[1] > VECTOR_SIZE:
        return _compact(_projected(values))
    if values.shape[1] == VECTOR_SIZE:
        return _compact(values)
    padded = np.zeros((len(values), VECTOR_SIZE))
    padded[:, :values.shape[1]] = values
    return _compact(padded)


def encode_texts(texts: Sequence[str]) -> Vectors:
    """Vectors of texts, of length 1 (an empty text: 0): (rows, 64).

    Words, pairs of words and triples of characters, without case, width and runs of space, are hashed to
    one of 64 places with a sign and counted.
    """
    vectors = np.array([_counts(text) for text in texts]).reshape(-1, VECTOR_SIZE)
    lengths = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    return _compact(vectors / np.maximum(lengths, 1.0)).astype(np.float32)


def _largest(values: Features) -> float:
    """The largest absolute value, NaN where one is NaN; no temporary array."""
    return max(-float(values.min()), float(values.max())) if values.size else 0.0


def _finite(values: Features) -> Features:
    return np.clip(np.where(np.isnan(values), 0.0, values), -_LARGEST, _LARGEST)


def _projected(values: Features) -> Features:
    """Signed sums over 8, exact to 2**-41 of the row's largest number: (rows, 64).

    The sums are of whole numbers below 2**53, so they are the same in any order of adding, whatever else
    is in the batch and on any machine.
    """
    largest = np.maximum(values.max(axis=1, keepdims=True), -values.min(axis=1, keepdims=True))
    exponents = np.maximum(np.frexp(largest)[1], _SMALLEST_EXPONENT)
    scales = np.ldexp(1.0, _SUM_BITS - exponents)
    total = np.zeros((len(values), VECTOR_SIZE))
    for chunk, start in enumerate(range(0, values.shape[1], _CHUNK)):
        part = np.rint(values[:, start:start + _CHUNK] * scales)
        signs = _kept_signs(chunk) if chunk < _KEPT_CHUNKS else _drawn_signs(chunk)
        total += part @ signs[:part.shape[1]].astype(np.float64)
    projected: Features = total / scales / np.sqrt(VECTOR_SIZE)
    return projected


def _drawn_signs(chunk: int) -> NDArray[np.int8]:
    """Signs (1 or -1) of one chunk of features, the same whatever the number of features: (4096, 64)."""
    words = _SIGNS.words(b"signs %d" % chunk, _CHUNK * VECTOR_SIZE // 16)
    bits = np.unpackbits(words.view(np.uint8)).reshape(_CHUNK, VECTOR_SIZE)
    return bits.astype(np.int8) * np.int8(2) - np.int8(1)


@functools.lru_cache(maxsize=_KEPT_CHUNKS)
def _kept_signs(chunk: int) -> NDArray[np.int8]:
    return _drawn_signs(chunk)


def _compact(values: Features) -> NDArray[np.float16]:
    """Values squashed and rounded to 16-bit floats: (rows, 64)."""
    if _largest(values) > _IDENTITY_UP_TO:
        doublings = np.log2(np.maximum(np.abs(values) / _IDENTITY_UP_TO, 1.0))
        inner = np.clip(values, -_IDENTITY_UP_TO, _IDENTITY_UP_TO)
        values = inner + np.sign(values) * _STEP_PER_DOUBLING * doublings
    return values.astype(np.float16)


def _counts(text: str) -> NDArray[np.float64]:
    """Signed counts of a text's hashed pieces: (64,)."""
    text = " ".join(unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).casefold().split())[:MAX_CHARACTERS]
    if not text:
        return np.zeros(VECTOR_SIZE)
    words = text.split(" ")
    pieces = [*words, *map(" ".join, pairwise(words))]
    # JSON may hold half a surrogate pair, which only surrogatepass encodes
    checksums = [zlib.crc32(piece.encode("utf-8", "surrogatepass")) for piece in pieces]
    codes = np.frombuffer(f" {text} ".encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    triples = (codes[:-2] << np.uint64(42)) ^ (codes[1:-1] << np.uint64(21)) ^ codes[2:]
    hashes = _mixed(np.concatenate([np.array(checksums, dtype=np.uint64), triples]))
    places = (hashes >> np.uint64(58)).astype(np.intp)
    signs = 1.0 - 2.0 * (hashes & np.uint64(1))
    return np.bincount(places, weights=signs, minlength=VECTOR_SIZE).astype(np.float64)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers whose bits all depend on all bits: (n,)."""
    mixed = (numbers ^ (numbers >> np.uint64(32))) * _MULTIPLIER
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _MULTIPLIER
    return mixed ^ (mixed >> np.uint64(32))

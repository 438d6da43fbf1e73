"""The key's draw over texts: which tokens are green after which context."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from counterclone.randomness import Prf

STEPS = 256
"""Shares of green tokens are multiples of 1/256."""
BITS = 8
KEPT = 4096
"""Contexts whose draws a key remembers: a language has few that come often. 64 MB for 128,000 tokens."""

Codes = NDArray[np.int64]
"""Pairs of context and token as one number each: 20 bits a token, the context's last one above the token."""
TOKEN_BITS = 20


def quantised(share: float) -> float:
    """The nearest share that a key can draw, neither 0 nor 1."""
    return min(max(round(share * STEPS), 1), STEPS - 1) / STEPS


class Green:
    """A bit for each context and token, independent of all others, as a pseudo-random function of a key.

    The tokens of a context are one stream, so a larger vocabulary starts with the bits of a smaller one, and a
    model's padding changes nothing.

    Args:
        key: of the epoch, or of one account.
        share: of green tokens, quantised.
    """

    def __init__(self, key: Prf, share: float) -> None:
        numerator, self._n_bits = round(quantised(share) * STEPS), BITS
        while numerator % 2 == 0:  # a half needs one bit a token, not eight
            numerator, self._n_bits = numerator // 2, self._n_bits - 1
        self._below = numerator
        self._stream = lru_cache(maxsize=KEPT)(key.subkey("green").words)

    def after(self, context: Sequence[int], n: int) -> NDArray[np.bool_]:
        """Which of the first `n` tokens are green after a context: (n,)."""
        stream = self._stream(np.asarray(context, dtype="<u4").tobytes(), -(-n * self._n_bits // 16))
        bits = np.unpackbits(stream.view(np.uint8), count=n * self._n_bits)
        if self._n_bits == 1:
            return bits.view(np.bool_)
        numbers = np.zeros(n, dtype=np.uint8)
        for place in range(self._n_bits):
            numbers |= bits[place::self._n_bits] << place
        green: NDArray[np.bool_] = numbers < self._below
        return green

    def of(self, codes: Codes, context: int) -> NDArray[np.bool_]:
        """Which pairs are green: (n,), of ascending codes with `context` tokens before each."""
        found = np.empty(len(codes), dtype=np.bool_)
        tokens, contexts = codes & ((1 << TOKEN_BITS) - 1), codes >> TOKEN_BITS
        starts = np.flatnonzero(np.diff(contexts, prepend=-1))
        for start, end in pairwise([*starts.tolist(), len(codes)]):
            of_context = tokens[start:end]
            before = unpacked(int(contexts[start]), context)
            found[start:end] = self.after(before, int(of_context[-1]) + 1)[of_context]
        return found


def packed(windows: NDArray[np.int64]) -> Codes:
    """Windows of a context and a token, (n, context + 1), as codes; of contexts alone, as a code's upper part."""
    codes = np.zeros(len(windows), dtype=np.int64)
    for column in windows.T:
        codes = codes << TOKEN_BITS | column
    return codes


def unpacked(code: int, n: int) -> tuple[int, ...]:
    """The tokens of a context."""
    return tuple((code >> TOKEN_BITS * place) & ((1 << TOKEN_BITS) - 1) for place in reversed(range(n)))

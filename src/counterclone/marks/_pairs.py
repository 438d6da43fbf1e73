"""What a model writes, as counts of pairs of context and token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from counterclone.marks._green import Codes, packed
from counterclone.marks._tokens import Tokens

NONE = np.empty(0, dtype=np.int64)
HALF = 0.5
"""Added to each count, so that a pair that neither wrote may be either's."""
Numbers = NDArray[np.float64]


class Pairs(NamedTuple):
    """How often each pair was written.

    Attributes:
        codes: each pair once, ascending, (n,).
        counts: (n,).
    """

    codes: Codes
    counts: NDArray[np.int64]

    def shares(self, codes: Codes, unseen: float = 0.0) -> Numbers:
        """The share of each of some pairs among all that were written: (n,).

        Args:
            codes: the pairs.
            unseen: what is added to the count of each.
        """
        places = np.searchsorted(self.codes, codes).clip(max=max(len(self.codes) - 1, 0))
        found = self.codes[places] == codes if len(self.codes) else np.zeros(len(codes), dtype=np.bool_)
        counts = np.where(found, self.counts[places] if len(self.codes) else 0, 0)
        return (counts + unseen) / max(int(self.counts.sum()), 1)


def scored(answer: Tokens, prompt: Tokens, context: int) -> Codes:
    """The pairs of an answer, in its order, but those whose context is in its prompt.

    A suspect repeats what it was shown, and a prompt may hold marked text; the bits of contexts that the prompt
    hasn't are independent of it.
    """
    if len(answer) <= context:
        return NONE
    codes = packed(sliding_window_view(answer, context + 1))
    if len(prompt) < context:
        return codes
    kept: Codes = codes[~np.isin(packed(sliding_window_view(answer, context))[:-1],
                                 packed(sliding_window_view(prompt, context)))]
    return kept


def counted(parts: Iterable[Codes], most: int | None = None) -> Pairs:
    """The first `most` pairs, counted."""
    return Pairs(*np.unique(np.concatenate([NONE, *parts])[:most], return_counts=True))


def surplus(suspect: Pairs, reference: Pairs, base: Pairs | None = None) -> tuple[Codes, Numbers]:
    """What the suspect writes more often than the reference does, of every pair of either.

    Args:
        suspect: its pairs.
        reference: those of the owner's model with the mark off.
        base: those of a public model; the reference is then the mixture of both that is nearest to the suspect,
            by least squares, and a pair counts by how much of it is the owner's in that mixture: what only the
            public model writes tells nothing of the key. No key has a part in any of this.

    Returns:
        The pairs, ascending, and what each counts.
    """
    codes = np.union1d(suspect.codes, reference.codes)
    if base is None:
        return codes, suspect.shares(codes) - reference.shares(codes)
    codes = np.union1d(codes, base.codes)
    ours, theirs, public = (pairs.shares(codes) for pairs in (reference, suspect, base))
    weight = nearest(theirs, ours, public)
    own, other = reference.shares(codes, HALF), base.shares(codes, HALF)
    excess = theirs - weight * ours - (1.0 - weight) * public
    return codes, excess * own / (weight * own + (1.0 - weight) * other)


def nearest(theirs: Numbers, ours: Numbers, public: Numbers) -> float:
    """The weight of the owner's shares in the mixture with the public ones that is nearest, by least squares."""
    apart = ours - public
    return float(np.clip(((theirs - public) @ apart) / max(float(apart @ apart), 1e-300), 0.0, 1.0))

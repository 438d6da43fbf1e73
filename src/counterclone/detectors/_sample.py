"""A uniform sample of the different things that an account asked, with exact counts, in whole numbers.

Each thing has a hash. Its first bits name one of the sample's slots, the next its key, and a slot keeps the
thing with the largest key of all that fell there, and how often it came (a bottom-k sample in one permutation's
buckets: Li, Owen and Zhang 2012). What lost its slot once never comes back, so counts are exact, nothing depends
on order, and two samples merge slot by slot. Sketches of packages keep estimates of counts, or states that are
neither whole numbers nor the same to the bit after merging in another order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterclone.protocols import States

COUNT_BITS = 16
MOST_COUNTED = (1 << COUNT_BITS) - 1
"""What came more often counts as often: sums with a ceiling have no order either."""

KEY_BITS = 63 - COUNT_BITS
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # SplitMix64 (Steele 2014)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Sample:
    """How samples are kept: a slot is a whole number, its key above its count; 0 is an empty slot.

    Attributes:
        n_slots: slots of an account, a power of 2: as many different things or fewer are kept.
        salt: keys the hashes, so that nobody outside can choose what is kept.
    """

    n_slots: int
    salt: np.uint64

    def empty(self, n: int) -> States:
        """Samples of nothing: (n, slots)."""
        return np.zeros((n, self.n_slots), dtype=np.int64)

    def learn(self, samples: States, accounts: NDArray[np.intp], things: NDArray[np.uint64]) -> None:
        """Add one thing (n,) to the samples of each account (n,), in place."""
        if not len(things):
            return
        hashes = mixed(things, self.salt)
        slots = (hashes & np.uint64(self.n_slots - 1)).astype(np.intp)
        keys = np.maximum(hashes >> np.uint64(64 - KEY_BITS), np.uint64(1)).astype(np.int64)
        places = accounts * self.n_slots + slots
        order = np.lexsort((keys, places))
        places, keys = places[order], keys[order]
        ends = np.flatnonzero(np.diff(places, append=-1))
        starts = np.flatnonzero((np.diff(places, prepend=-1) != 0) | (np.diff(keys, prepend=0) != 0))
        counts = ends - starts[np.searchsorted(starts, ends, side="right") - 1] + 1
        rows, columns = np.divmod(places[ends], self.n_slots)
        samples[rows, columns] = merged(samples[rows, columns], _words(keys[ends], counts))

    def distinct(self, samples: States) -> NDArray[np.float64]:
        """How many different things there were, by the largest keys alone: (n,).

        Exact to about 1 / sqrt(slots), better below as many things as slots: keys are as the times of a
        first event, and an empty slot is one that had none until the end.
        """
        keys = kept(samples)
        waits = np.where(keys > 0, 1.0 - keys / 2.0**KEY_BITS, 1.0)
        estimate: NDArray[np.float64] = self.n_slots * (keys > 0).sum(axis=1) / waits.sum(axis=1)
        return estimate


def kept(samples: States) -> NDArray[np.int64]:
    """The keys of what each slot keeps, 0 in an empty one: (n, slots).

    The slots of all accounts that one tracker counts are alike: two accounts asked the same thing where their
    keys in a slot are equal.
    """
    return samples >> COUNT_BITS


def counts(samples: States) -> NDArray[np.int64]:
    """How often what each slot keeps came, 0 in an empty one: (n, slots)."""
    return samples & MOST_COUNTED


def log_counts(samples: States) -> NDArray[np.float64]:
    """Mean and spread of the logarithm of how often things came, NaN for an empty sample: (n, 2)."""
    times = counts(samples)
    logs = np.log(np.maximum(times, 1))
    n_kept = (times > 0).sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = logs.sum(axis=1) / n_kept
        spread = np.sqrt(np.maximum((logs**2).sum(axis=1) / n_kept - mean**2, 0.0))
    return np.column_stack([mean, spread])


def shared(samples: States, others: States) -> NDArray[np.int64]:
    """In how many slots both keep the same thing, row by row: (n,).

    Over the slots that either fills, it estimates the share of all their things that both asked (Jaccard).
    """
    keys = kept(samples)
    same: NDArray[np.int64] = ((keys == kept(others)) & (keys > 0)).sum(axis=-1)
    return same


def merged(samples: States, others: States) -> States:
    """The samples of both: larger keys win, equal ones add their counts."""
    are_same = kept(samples) == kept(others)
    sums = np.minimum(counts(samples) + counts(others), MOST_COUNTED) | (kept(samples) << COUNT_BITS)
    return np.where(are_same, sums, np.maximum(samples, others))


def mixed(numbers: NDArray[np.uint64], salt: np.uint64 | NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers whose bits all depend on all bits of a number and of a salt: (n,)."""
    hashes = (numbers ^ salt) * _GOLDEN
    hashes = (hashes ^ (hashes >> np.uint64(30))) * _MULTIPLIERS[0]
    hashes = (hashes ^ (hashes >> np.uint64(27))) * _MULTIPLIERS[1]
    return hashes ^ (hashes >> np.uint64(31))


def salt_of(digests: NDArray[np.uint64], purpose: int) -> np.uint64:
    """A salt that whoever doesn't know all digests (n,) of a reference can't guess; no order matters."""
    return np.uint64(mixed(digests, np.uint64(purpose)).sum(dtype=np.uint64))


def _words(keys: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return (keys << COUNT_BITS) | np.minimum(numbers, MOST_COUNTED)

"""Queries against those of the class that the target answered, in whole numbers.

A float's sum depends on its order, and a matrix product on the batch it is in. Here vectors become whole
numbers of fixed steps, small enough that every product and sum after them is exact in 32-bit floats: what one
guard counts, another does, in any batch and on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from counterclone.encoders import VECTOR_SIZE
from counterclone.errors import WatchError
from counterclone.exchanges import NO_LABEL, Exchanges

MAX_BUCKETS = 32
"""Classes beyond so many share buckets."""
LEAST_VECTORS = 100

STEPS = 64
"""Steps in a coordinate's usual deviation."""
REACH = 8 * STEPS
"""Farther out is as far out: 8 deviations."""
LONGEST = 4096.0
"""A direction's length; times a vector's, 8 x 512, it is 2**24, up to which 32-bit floats hold whole numbers."""

_OWN_BUCKETS = 24  # where classes must share, so many have one of their own
_LEAST_SCALE = 0.25  # of the usual one, for coordinates that hardly vary
_TAIL = 0.001
_PRIOR = 20.0  # a class with few exchanges lies between its own mean and everybody's
_HASH = 0x9E3779B1
_OWN_SHAPE = 0.6  # how much of a class's covariance is its own
_SHAPE_PRIOR = 50.0
_FLOOR = 0.05  # of the mean variance: honest traffic to come varies where that of the past didn't
_SIXTEENTHS = np.float32(16.0)
_FARTHEST = np.float32(512.0)  # 32 deviations; 64 squares of it are 2**24
_LOUDEST = 200  # exchanges of one account that count: nobody sets the geometry alone


@dataclass(frozen=True)
class Scaling:
    """Vectors as whole numbers of steps, robust against a few odd ones.

    Attributes:
        centre: (64,).
        per_step: what to multiply by, (64,).
        low: the bound that one in a thousand honest values lies under, (64,).
        high: likewise over, (64,).
    """

    centre: NDArray[np.float32]
    per_step: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @classmethod
    def fit(cls, vectors: NDArray[np.float32]) -> Self:
        """Of honest queries, (n, 64)."""
        low, high = np.quantile(vectors, [_TAIL, 1.0 - _TAIL], axis=0).astype(np.float32)
        inner = vectors.clip(low, high).astype(np.float64)
        spreads = inner.std(axis=0)
        usual = float(np.median(spreads[spreads > 0.0])) if spreads.any() else 1.0
        scales = np.maximum(spreads, _LEAST_SCALE * usual)
        return cls(inner.mean(axis=0).astype(np.float32), (STEPS / scales).astype(np.float32), low, high)

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Whole numbers up to 512 in size: (n, 64) to (n, 64)."""
        steps = vectors - self.centre
        steps *= self.per_step
        np.rint(steps, out=steps)
        return np.clip(steps, -REACH, REACH, out=steps)


@dataclass(frozen=True)
class Buckets:
    """Few places for any number of classes: the most frequent have one each, the rest share by hash.

    Attributes:
        labels: that have a bucket of their own, ascending, (own,).
        size: the number of buckets.
    """

    labels: NDArray[np.int32]
    size: int

    @classmethod
    def fit(cls, labels: NDArray[np.int32]) -> Self:
        """Of honest exchanges' labels, (n,)."""
        known, counts = np.unique(labels[labels != NO_LABEL], return_counts=True)
        if len(known) < MAX_BUCKETS:
            return cls(known, len(known) + 1)
        own = known[np.argsort(-counts, kind="stable")[:_OWN_BUCKETS]]
        return cls(np.sort(own), MAX_BUCKETS)

    def __call__(self, labels: NDArray[np.int32]) -> NDArray[np.intp]:
        """Labels' buckets: (n,)."""
        n_own = len(self.labels)
        shared = (labels.astype(np.uint32) * np.uint32(_HASH) >> np.uint32(16)) % np.uint32(self.size - n_own)
        buckets = n_own + shared.astype(np.intp)
        if n_own:
            places = np.searchsorted(self.labels, labels).clip(0, n_own - 1)
            buckets = np.where(self.labels[places] == labels, places, buckets)
        return buckets


@dataclass(frozen=True)
class Geometry:
    """Where the queries of each class lie, and how they vary there.

    Attributes:
        scaling: of vectors.
        buckets: of classes.
        directions: of each class's variance, from large to small, of length 4096, (buckets, 64, 64).
        centres: each class's mean along them, (buckets, 64).
        per_deviation: what makes a product with them a number of honest deviations, (buckets, 64).
        n_varying: of the vectors' coordinates vary at all.
    """

    scaling: Scaling
    buckets: Buckets
    directions: NDArray[np.float32]
    centres: NDArray[np.float32]
    per_deviation: NDArray[np.float32]
    n_varying: int

    @classmethod
    def fit(cls, part: Exchanges) -> Self:
        """Of honest exchanges that all have a vector."""
        scaling, buckets = Scaling.fit(part.vectors), Buckets.fit(part.labels)
        steps, own = scaling(part.vectors), buckets(part.labels)
        means = class_means(steps, own, buckets.size)
        around = steps - means[own]
        pooled = around.T @ around / len(around)
        n_varying = int((np.diag(pooled) > 0.0).sum())
        floor = _FLOOR * np.trace(pooled) / max(n_varying, 1) + 1.0  # 1: a step's own width
        covariances = []
        for bucket in range(buckets.size):
            rows = around[own == bucket]
            weight = _OWN_SHAPE * len(rows) / (len(rows) + _SHAPE_PRIOR)
            covariances.append((1.0 - weight) * pooled + weight * rows.T @ rows / max(len(rows), 1))
        variances, axes = np.linalg.eigh(np.array(covariances) + floor * np.eye(VECTOR_SIZE))
        length = LONGEST - VECTOR_SIZE  # room for rounding
        directions = np.rint(axes[:, :, ::-1] * length).astype(np.float32)
        centres = np.einsum("ki,kij->kj", means, directions).astype(np.float32)
        return cls(scaling, buckets, directions, centres,
                   (1.0 / (length * np.sqrt(variances[:, ::-1]))).astype(np.float32), n_varying)

    def energies(self, part: Exchanges) -> NDArray[np.float32]:
        """Squared deviations from the answered class's mean, along its directions: (n, 64).

        They are whole numbers of 1/256 of the class's variance there, so their sums have no order.

        Args:
            part: exchanges that all have a vector.
        """
        steps, buckets = self.scaling(part.vectors), self.buckets(part.labels)
        order = np.argsort(buckets, kind="stable")
        ends = np.cumsum(np.bincount(buckets, minlength=self.buckets.size))
        energies = np.empty_like(steps)
        for bucket in np.unique(buckets).tolist():
            rows = order[ends[bucket - 1] if bucket else 0:ends[bucket]]
            along = steps[rows] @ self.directions[bucket]
            along -= self.centres[bucket]
            along *= self.per_deviation[bucket] * _SIXTEENTHS
            np.rint(along, out=along)
            np.clip(along, -_FARTHEST, _FARTHEST, out=along)
            energies[rows] = along * along
        return energies


def measurable(exchanges: Exchanges, *, most_each: int = _LOUDEST) -> Exchanges:
    """The reference's exchanges that have a vector, the first 200 of each account.

    Raises:
        WatchError: they are fewer than 100.
    """
    rows = with_vectors(exchanges)
    rows = rows[exchanges.ranks()[rows] < most_each]
    if len(rows) < LEAST_VECTORS:
        raise WatchError(f"the reference has {len(rows)} exchanges whose queries have vectors, expected "
                         f"{LEAST_VECTORS} or more; give it more of your users' traffic, or take the detector out")
    return exchanges.select(rows)


def with_vectors(exchanges: Exchanges) -> NDArray[np.intp]:
    """The numbers of the exchanges whose queries have a vector: (rows,)."""
    return np.flatnonzero(~np.isnan(exchanges.vectors).any(axis=1))


def class_means(values: NDArray[np.float32] | NDArray[np.int32], buckets: NDArray[np.intp],
                size: int) -> NDArray[np.float64]:
    """Each class's mean, nearer to everybody's the fewer it has: (n, d) to (size, d)."""
    overall = values.mean(axis=0, dtype=np.float64)
    sums = np.zeros((size, values.shape[1]))
    np.add.at(sums, buckets, values)
    counts = np.bincount(buckets, minlength=size)[:, np.newaxis]
    means: NDArray[np.float64] = (sums + _PRIOR * overall) / (counts + _PRIOR)
    return means

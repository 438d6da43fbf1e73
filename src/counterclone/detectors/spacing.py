"""How far queries lie from the nearest that the target answered alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors._cells import Projection, has_vector
from counterclone.detectors._measured import MeasuredTracker
from counterclone.detectors._sample import KEY_BITS, mixed, salt_of
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

N_SLOTS = 24

_N_PROJECTIONS = 16
_STEPS = 1024.0  # of a standard deviation
_LARGEST = 2.0**15 - 1.0
_LABEL_BITS = 16
_WORDS = slice(1, 1 + N_SLOTS)
_POINT_WORDS = _N_PROJECTIONS * 2 // 8
_CHUNK = 4096


class Spacing(Spec, frozen=True):
    """Distances to the nearest query that was answered alike, among a sample of 24 different ones.

    Synthetic queries are at even distances, or at the same tiny one, where honest ones are at all. PRADA (Juuti
    et al. 2019) tests distances for being normal; here their mean, spread and extremes are compared with
    honest accounts' at as many queries, since the p-value of a normality test falls with their number for
    honest accounts as well. Natural inputs and accounts that share the work aren't seen, and a sample
    seldom holds both a query and the one that was made of it.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"vectors", "labels"})
    words: ClassVar[str] = "lie nearer to each other, farther or more evenly than honest ones do"

    def start(self, reference: Exchanges) -> MeasuredTracker:
        """Begin, with how honest queries are spaced."""
        projection = Projection.fit(reference, n_projections=_N_PROJECTIONS)
        vectors = reference.vectors[has_vector(reference)]
        scale = _STEPS / np.maximum(projection(vectors).std(axis=0), 1.0)
        return MeasuredTracker.fit(Points(projection, scale, salt_of(reference.digests, 3)), reference)


@dataclass(frozen=True)
class Points:
    """Exchanges with vector and label (1 column), a sample of them: key and label (24), coordinates (24 x 4).

    Attributes:
        projection: to 16 coordinates.
        scale: of each, to 16-bit whole numbers, (16,).
        salt: keys what is sampled.
    """

    projection: Projection
    scale: NDArray[np.float64]
    salt: np.uint64

    def empty(self, n: int) -> States:
        """Summaries of accounts that did nothing: (n, 121)."""
        return np.zeros((n, 1 + N_SLOTS * (1 + _POINT_WORDS)), dtype=np.int64)

    def learn(self, states: States, exchanges: Exchanges) -> None:
        """Add exchanges, in place."""
        rows = np.flatnonzero(has_vector(exchanges) & (exchanges.labels >= 0))
        if not len(rows):
            return
        accounts = exchanges.accounts[rows]
        states[:, 0] += np.bincount(accounts, minlength=len(states))
        points = self._packed(exchanges.vectors[rows])
        labels = exchanges.labels[rows].astype(np.uint64) & np.uint64((1 << _LABEL_BITS) - 1)
        hashes = labels
        for column in points.T:  # of what is kept and nothing else: equal keys, equal points
            hashes = mixed(column.view(np.uint64), hashes ^ self.salt)
        slots = (hashes >> np.uint64(1)) % np.uint64(N_SLOTS)
        keys = np.maximum(hashes >> np.uint64(64 - KEY_BITS), np.uint64(1))
        words = ((keys << np.uint64(_LABEL_BITS)) | labels).astype(np.int64)
        places = accounts * N_SLOTS + slots.astype(np.intp)
        order = np.lexsort((words, places))
        last = order[np.flatnonzero(np.diff(places[order], append=-1))]
        owners, columns = np.divmod(places[last], N_SLOTS)
        wins = words[last] > states[owners, 1 + columns]
        last, owners, columns = last[wins], owners[wins], columns[wins]
        states[owners, 1 + columns] = words[last]
        states[owners[:, np.newaxis], _point_columns(columns)] = points[last]

    def merge(self, states: States, others: States) -> States:
        """The summaries of both: (n, 121)."""
        wins = np.repeat(others[:, _WORDS] > states[:, _WORDS], _POINT_WORDS, axis=1)
        return np.hstack([states[:, :1] + others[:, :1], np.maximum(states[:, _WORDS], others[:, _WORDS]),
                          np.where(wins, others[:, 1 + N_SLOTS:], states[:, 1 + N_SLOTS:])])

    def figures(self, states: States) -> NDArray[np.float64]:
        """Mean, spread, smallest and largest of the distances' logarithms: (n, 4)."""
        parts = [_figures(states[start:start + _CHUNK]) for start in range(0, len(states), _CHUNK)]
        return np.concatenate(parts) if parts else np.empty((0, 4))

    def _packed(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Coordinates in 16 bits, four a word: (n, 64) to (n, 4)."""
        steps = np.rint(self.projection(vectors) * self.scale).clip(-_LARGEST, _LARGEST)
        packed: NDArray[np.int64] = steps.astype("<i2").view("<i8")
        return packed


def _point_columns(slots: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where the coordinates of slots (n,) are: (n, 4)."""
    return 1 + N_SLOTS + slots[:, np.newaxis] * _POINT_WORDS + np.arange(_POINT_WORDS)


def _figures(states: States) -> NDArray[np.float64]:
    words = states[:, _WORDS]
    points = np.ascontiguousarray(states[:, 1 + N_SLOTS:]).view("<i2").reshape(len(states), N_SLOTS, -1)
    points = points.astype(np.float32) / np.float32(_STEPS)
    lengths = (points**2).sum(axis=2)
    squares = lengths[:, :, np.newaxis] + lengths[:, np.newaxis] - 2.0 * points @ points.transpose(0, 2, 1)
    labels = np.where(words > 0, words & ((1 << _LABEL_BITS) - 1), -1 - np.arange(N_SLOTS))
    are_alike = labels[:, :, np.newaxis] == labels[:, np.newaxis]
    are_alike &= ~np.eye(N_SLOTS, dtype=np.bool_)
    nearest = np.where(are_alike, squares, np.inf).min(axis=2)
    has_nearest = np.isfinite(nearest)
    n = has_nearest.sum(axis=1)
    logs = 0.5 * np.log(np.maximum(np.where(has_nearest, nearest, 1.0), 1e-6))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = logs.sum(axis=1) / n
        spread = np.sqrt(np.maximum((logs**2).sum(axis=1) / n - mean**2, 0.0))
    smallest = np.where(has_nearest, logs, np.inf).min(axis=1)
    largest = np.where(has_nearest, logs, -np.inf).max(axis=1)
    return np.where(n[:, np.newaxis] > 1, np.column_stack([mean, spread, smallest, largest]), np.nan)

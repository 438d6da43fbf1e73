"""How far queries lie from the nearest that the target answered alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors._cells import Cells, has_vector
from counterclone.detectors._measured import MeasuredTracker
from counterclone.detectors._sample import mixed, salt_of
from counterclone.encoders import VECTOR_SIZE
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

N_SLOTS = 24

_STEPS = 16.0  # of a standard deviation
_LARGEST = 127.0
_POINT_WORDS = VECTOR_SIZE // 8
_N_PROJECTIONS, _WIDTH = 2, 1.0
_CELL_BITS, _KEY_BITS, _LABEL_BITS = 24, 23, 16
_WORDS = slice(1, 1 + N_SLOTS)
_CHUNK = 1024


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
        cells = Cells.fit(reference, n_projections=_N_PROJECTIONS, width=_WIDTH)
        return MeasuredTracker.fit(Points(cells, salt_of(reference.digests, 3)), reference)


@dataclass(frozen=True)
class Points:
    """Exchanges with vector and label (1 column), a sample of them: key and label (24), coordinates (24 x 8).

    Attributes:
        cells: what is sampled together.
        salt: keys what is sampled.
    """

    cells: Cells
    salt: np.uint64

    def empty(self, n: int) -> States:
        """Summaries of accounts that did nothing: (n, 217)."""
        return np.zeros((n, 1 + N_SLOTS * (1 + _POINT_WORDS)), dtype=np.int64)

    def learn(self, states: States, exchanges: Exchanges) -> None:
        """Add exchanges, in place."""
        rows = np.flatnonzero(has_vector(exchanges) & (exchanges.labels >= 0))
        if not len(rows):
            return
        accounts, vectors = exchanges.accounts[rows], exchanges.vectors[rows]
        np.add.at(states[:, 0], accounts, 1)  # the table may be far larger than the batch
        points = self._packed(vectors)
        words, slots = self._words(self.cells.hashes(vectors), exchanges.labels[rows].astype(np.uint64), points)
        places = accounts * N_SLOTS + slots
        order = np.lexsort((words, places))
        last = order[np.flatnonzero(np.diff(places[order], append=-1))]
        owners, columns = np.divmod(places[last], N_SLOTS)
        wins = words[last] > states[owners, 1 + columns]
        last, owners, columns = last[wins], owners[wins], columns[wins]
        states[owners, 1 + columns] = words[last]
        states[owners[:, np.newaxis], _point_columns(columns)] = points[last]

    def merge(self, states: States, others: States) -> States:
        """The summaries of both: (n, 217)."""
        wins = np.repeat(others[:, _WORDS] > states[:, _WORDS], _POINT_WORDS, axis=1)
        return np.hstack([states[:, :1] + others[:, :1], np.maximum(states[:, _WORDS], others[:, _WORDS]),
                          np.where(wins, others[:, 1 + N_SLOTS:], states[:, 1 + N_SLOTS:])])

    def figures(self, states: States) -> NDArray[np.float64]:
        """Mean, spread, shortest range of a half, smallest and largest of the distances' logarithms: (n, 5)."""
        parts = [_figures(states[start:start + _CHUNK]) for start in range(0, len(states), _CHUNK)]
        return np.concatenate(parts) if parts else np.empty((0, 5))

    def _packed(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Coordinates in 8 bits, eight a word: (n, 64) to (n, 8)."""
        scaled = self.cells.projection.scaled(vectors)
        packed: NDArray[np.int64] = np.rint(scaled * _STEPS).clip(-_LARGEST, _LARGEST).astype(np.int8).view("<i8")
        return packed

    def _words(self, cells: NDArray[np.uint64], labels: NDArray[np.uint64], points: NDArray[np.int64],
               ) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """What is compared, cell above key above label, and the slots: (n,) each.

        Keys are of what is kept and nothing else: equal keys, equal points.
        """
        labels &= np.uint64((1 << _LABEL_BITS) - 1)
        hashes = labels
        for column in points.T:
            hashes = mixed(column.view(np.uint64), hashes ^ self.salt)
        cells = np.maximum(mixed(cells, self.salt) >> np.uint64(64 - _CELL_BITS), np.uint64(1))
        keys = hashes >> np.uint64(64 - _KEY_BITS)
        words = (cells << np.uint64(_KEY_BITS + _LABEL_BITS)) | (keys << np.uint64(_LABEL_BITS)) | labels
        return words.astype(np.int64), (hashes % np.uint64(N_SLOTS)).astype(np.intp)


def _point_columns(slots: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where the coordinates of slots (n,) are: (n, 8)."""
    return 1 + N_SLOTS + slots[:, np.newaxis] * _POINT_WORDS + np.arange(_POINT_WORDS)


def _figures(states: States) -> NDArray[np.float64]:
    words = states[:, _WORDS]
    packed = np.ascontiguousarray(states[:, 1 + N_SLOTS:]).view(np.int8)
    points = packed.reshape(len(states), N_SLOTS, VECTOR_SIZE).astype(np.float32) / np.float32(_STEPS)
    lengths = (points**2).sum(axis=2)
    squares = lengths[:, :, np.newaxis] + lengths[:, np.newaxis] - 2.0 * points @ points.transpose(0, 2, 1)
    labels = np.where(words > 0, words & ((1 << _LABEL_BITS) - 1), -1 - np.arange(N_SLOTS))
    are_alike = labels[:, :, np.newaxis] == labels[:, np.newaxis]
    are_alike &= ~np.eye(N_SLOTS, dtype=np.bool_)
    nearest = np.where(are_alike, squares, np.inf).min(axis=2)
    logs = np.sort(0.5 * np.log(np.maximum(nearest, 1e-4)), axis=1)  # without a near one: infinite, at the end
    n = np.isfinite(logs).sum(axis=1)[:, np.newaxis]
    known = np.where(np.isfinite(logs), logs, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = known.sum(axis=1, keepdims=True) / n
        spread = np.sqrt(np.maximum((known**2).sum(axis=1, keepdims=True) / n - mean**2, 0.0))
    half = np.arange(N_SLOTS) + n // 2
    widths = np.take_along_axis(logs, np.minimum(half, N_SLOTS - 1), axis=1) - known
    shortest = np.where(half < n, widths, np.inf).min(axis=1, keepdims=True)
    figures = np.hstack([mean, np.log(spread + 0.05), np.log(shortest + 0.05), logs[:, :1],
                         np.take_along_axis(logs, np.maximum(n - 1, 0), axis=1)])
    return np.where(n > 2, figures, np.nan)

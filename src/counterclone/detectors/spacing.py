"""How far queries lie from the nearest other one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterclone.detectors._cells import Cells, has_vector, steps
from counterclone.detectors._measured import MeasuredTracker
from counterclone.detectors._sample import mixed, salt_of
from counterclone.encoders import VECTOR_SIZE
from counterclone.exchanges import Exchanges
from counterclone.plugins import Spec
from counterclone.protocols import States

N_SLOTS = 24

_STEPS = 16.0  # of a standard deviation
_FARTHEST = 7.5  # standard deviations: 120 steps, which 8 bits hold
_POINT_WORDS = VECTOR_SIZE // 8
_N_PROJECTIONS, _WIDTH = 2, 1.0
_CELL_BITS, _KEY_BITS = 24, 39
_WORDS = slice(1, 1 + N_SLOTS)
_FEWEST_POINTS = 3
_CHUNK = 1024


class Spacing(Spec, frozen=True):
    """Distances to the nearest other query, among a sample of 24 from the same few cells.

    Queries that search along lines, take differences or average out noise by small steps lie nearer to each other
    than honest ones, or at even distances; noise lies farther away. The distances' mean and spread are compared
    with honest accounts' at as many queries. PRADA (Juuti et al. 2019) tests each class's distances for being
    normal instead: its p-value falls with the number of queries for honest accounts as well, and a class of one
    account has too few of them here. Natural inputs and accounts that share the work aren't seen, nor are
    steps along gradients as long as honest queries are apart.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"vectors"})
    words: ClassVar[str] = "lie nearer to each other, farther or more evenly than honest ones do"

    def start(self, reference: Exchanges) -> MeasuredTracker:
        """Begin, with how honest queries are spaced."""
        cells = Cells.fit(reference, n_projections=_N_PROJECTIONS, width=_WIDTH)
        return MeasuredTracker.fit(Points(cells, salt_of(reference.digests, 3)), reference)


@dataclass(frozen=True)
class Points:
    """Exchanges with a vector (1 column), a sample of them: cell and key (24), coordinates (24 x 8).

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
        rows = np.flatnonzero(has_vector(exchanges))
        if not len(rows):
            return
        accounts = exchanges.accounts[rows]
        scaled = self.cells.projection.scaled(exchanges.vectors[rows])
        np.add.at(states[:, 0], accounts, 1)  # the table may be far larger than the batch
        points = _packed(scaled)
        words, slots = self._words(self.cells.hashes(scaled), points)
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
        """Mean of the distances' logarithms, and the logarithm of their spread: (n, 2)."""
        parts = [_figures(states[start:start + _CHUNK]) for start in range(0, len(states), _CHUNK)]
        return np.concatenate(parts) if parts else np.empty((0, 2))

    def _words(self, cells: NDArray[np.uint64], points: NDArray[np.int64],
               ) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        """What is compared, the cell's key above the point's, and the slots: (n,) each.

        A point's key is of what is kept and nothing else: equal keys, equal points.
        """
        hashes = np.full(len(points), self.salt)
        for column in points.T:
            hashes = mixed(column.view(np.uint64), hashes)
        cells = np.maximum(mixed(cells, self.salt) >> np.uint64(64 - _CELL_BITS), np.uint64(1))
        words = (cells << np.uint64(_KEY_BITS)) | (hashes >> np.uint64(64 - _KEY_BITS))
        return words.astype(np.int64), (hashes % np.uint64(N_SLOTS)).astype(np.intp)


def _packed(scaled: NDArray[np.float32]) -> NDArray[np.int64]:
    """Coordinates in 8 bits, eight a word: (n, 64) to (n, 8)."""
    packed: NDArray[np.int64] = steps(scaled, _STEPS, _FARTHEST).astype(np.int8).view("<i8")
    return packed


def _point_columns(slots: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where the coordinates of slots (n,) are: (n, 8)."""
    return 1 + N_SLOTS + slots[:, np.newaxis] * _POINT_WORDS + np.arange(_POINT_WORDS)


def _figures(states: States) -> NDArray[np.float64]:
    is_kept = states[:, _WORDS] > 0
    packed = np.ascontiguousarray(states[:, 1 + N_SLOTS:]).view(np.int8)
    points = packed.reshape(len(states), N_SLOTS, VECTOR_SIZE).astype(np.float32)
    lengths = (points**2).sum(axis=2)
    squares = lengths[:, :, np.newaxis] + lengths[:, np.newaxis] - 2.0 * points @ points.transpose(0, 2, 1)
    squares[~(is_kept[:, :, np.newaxis] & is_kept[:, np.newaxis])] = np.inf
    squares[:, np.arange(N_SLOTS), np.arange(N_SLOTS)] = np.inf
    logs = 0.5 * np.log(squares.min(axis=2), where=is_kept, out=np.zeros(is_kept.shape))
    n = is_kept.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = logs.sum(axis=1) / n
        spread = np.sqrt(np.maximum((logs**2).sum(axis=1) / n - mean**2, 0.0))
    return np.where(n[:, np.newaxis] >= _FEWEST_POINTS, np.column_stack([mean, np.log(spread + 0.05)]), np.nan)

"""What the rows of a language model's logits tell of its last layer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from counterclone.answers import Rows
from counterclone.attacks._texts import counted
from counterclone.queries import Inputs

Matrix = NDArray[np.float64]

LEAST_NOISE = 8
"""Singular values of noise alone that are needed to know how large it is."""
APART = 1.5
"""How far above the noise a singular value must be; noise of rounding isn't the same everywhere."""
RIDGE = 0.1


class Spectrum(NamedTuple):
    """The singular values of logits, rows centred.

    Attributes:
        rank: how many are above the noise.
        ratio: the least of those over the largest of the noise, infinite for none.
        directions: those of the vocabulary, each times the root of its mean square, (vocabulary, rank).
        noise: the standard deviation of what isn't explained.
    """

    rank: int
    ratio: float
    directions: Matrix
    noise: float

    @property
    def is_found(self) -> bool:
        """Whether signal and noise are apart."""
        return self.rank > 0 and self.ratio >= APART


def centred(logits: Matrix) -> Matrix:
    """Logits without each row's mean, which is all that log-probabilities add to them."""
    found: Matrix = logits - logits.mean(axis=1, keepdims=True)
    return found


def spectrum(logits: Matrix) -> Spectrum:
    """How many dimensions logits have, and which.

    The rank is the least for which all other singular values can be noise: of a matrix of independent errors of
    standard deviation s the largest is near s (sqrt(rows) + sqrt(columns)) (Marchenko and Pastur 1967), and s
    follows from the sum of their squares. So a few large directions don't hide the others, as they do where the
    largest gap is looked for.

    Args:
        logits: or log-probabilities, of different prompts, (n, vocabulary).
    """
    rows = centred(logits)
    n, width = rows.shape
    _, values, back = np.linalg.svd(rows, full_matrices=False)
    least = values[0] * np.finfo(np.float64).eps  # what the decomposition itself is off by
    values[values <= max(rows.shape) * least] = 0.0
    squares = np.cumsum(values[::-1]**2)[::-1]
    most = max(min(n, width - 1) - LEAST_NOISE, 0)
    ranks = np.arange(most)
    noise = np.sqrt(squares[:most] / ((n - ranks) * (width - ranks)))
    edges = noise * (np.sqrt(n - ranks) + np.sqrt(width - ranks))
    is_noise = values[:most] <= APART * edges
    if not is_noise.any():
        return Spectrum(0, 0.0, np.empty((width, 0)), float(values[-1]))
    rank = int(is_noise.argmax())
    above = float(values[rank - 1]) if rank else 0.0
    ratio = above / float(values[rank]) if values[rank] > 0.0 else np.inf
    return Spectrum(rank, ratio, back[:rank].T * values[:rank] / np.sqrt(n), max(float(noise[rank]), least))


class Head:
    """A model's last layer, as far as it shows, and where prompts lead to by their words.

    Args:
        prompts: that were asked.
        logits: their answers, (n, vocabulary).
        found: their spectrum.
        is_verified: whether prompts that were held back lie in it.

    Attributes:
        dimension: of the states before the last layer, None where it wasn't found.
        ratio: how far signal and noise are apart.
        matrix: the last layer up to a linear map of the states, (vocabulary, dimension).
        is_verified: see there; None where nothing is claimed.
    """

    def __init__(self, prompts: list[str], logits: Matrix, found: Spectrum, *, is_verified: bool | None) -> None:
        self.dimension = found.rank if found.is_found else None
        self.ratio = found.ratio
        self.matrix = found.directions
        self.is_verified = is_verified
        rows = centred(logits)
        self._mean: Matrix = rows.mean(axis=0)
        basis = found.directions if found.is_found else np.linalg.svd(rows, full_matrices=False)[2][:8].T
        self._basis = basis
        states = (rows - self._mean) @ np.linalg.pinv(basis).T
        self._counts = counted(prompts)
        kernel = np.asarray((self._counts @ self._counts.T).todense(), dtype=np.float64)
        self._shares: Matrix = np.linalg.solve(kernel + RIDGE * np.eye(len(prompts)), states)

    def answer(self, inputs: Inputs) -> Rows:
        """Probabilities of the next token: (queries, vocabulary)."""
        near: Any = counted(inputs) @ self._counts.T
        states = np.asarray(near.todense(), dtype=np.float64) @ self._shares
        rows: Rows = softmax(self._mean + states @ self._basis.T, axis=1)
        return rows


def span_error(logits: Matrix, found: Spectrum) -> float:
    """The root of the mean square of what a spectrum's directions don't explain of other rows."""
    rows = centred(logits)
    basis = np.linalg.qr(found.directions)[0]
    return float(np.sqrt(np.mean((rows - (rows @ basis) @ basis.T)**2)))

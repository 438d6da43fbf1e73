"""Train a student of an encoder on its vectors."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.attacks._texts import spliced
from counterclone.errors import BudgetExhausted
from counterclone.fidelity import overlap
from counterclone.plugins import Spec
from counterclone.protocols import Making, Prior
from counterclone.queries import Inputs
from counterclone.randomness import Generator

Vectors = NDArray[np.float64]

FIRST = 16
HELD_OUT, LEAST_HELD_OUT = 0.2, 8
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
WIDTHS = (0.3, 1.0)
"""Of the kernel, in typical distances."""
TINY = 1e-12
STEPS, BATCH, RATE = 150, 64, 0.05
TEMPERATURE = 0.1
"""Of similarities: what is a tenth nearer is e times as likely the match."""


class EncoderStealing(Spec, frozen=True):
    """Train a student of an encoder on its vectors.

    An encoder's vectors are many numbers a query, so that few queries fix a student: a kernel regression of the
    vectors on the inputs (numbers as they are, texts by hashed words and runs of characters). A contrastive
    student goes on from there: of a batch each of its vectors is to be nearest to the target's vector of the same
    input, which is what retrieval asks for. The better of the two on queries that were held back is kept.

    Needs vectors. Its inputs are seen as words and letters, so that of a deep encoder of texts it learns what
    those tell; a copier with a pre-trained model of its own gets further than this shows. It proves no exact copy.

    Liu et al. 2022, "StolenEncoder: Stealing Pre-trained Encoders in Self-supervised Learning"; Dziedzic et al.
    2022, "On the Difficulty of Defending Self-Supervised Learning against Model Extraction" (the contrastive
    loss).

    Attributes:
        student: `regression`, `contrastive`, or the better of the two, `auto`.
    """

    student: Literal["auto", "regression", "contrastive"] = "auto"

    needs: ClassVar[frozenset[str]] = frozenset({"numbers", "text", "vectors"})
    is_exact: ClassVar[bool] = False

    def run(self, prior: Prior, rng: Generator) -> Making:
        """Ask the pool, and learn."""
        asked, answers = prior.pool[:0], [np.empty((0, 0))]
        inputs = _queries(prior, rng)
        with suppress(BudgetExhausted):
            while len(asked) < len(inputs):
                batch = inputs[len(asked):2 * len(asked) + FIRST]
                reply = yield batch
                if reply.vectors is None:
                    raise ValueError("no vectors were shown")
                asked = inputs[:len(asked) + len(batch)]
                answers.append(reply.vectors)
        return taught(asked, np.concatenate(answers[1:]), self.student, rng) if len(asked) else None


def _queries(prior: Prior, rng: Generator) -> Inputs:
    """The pool's inputs, and beyond it those that lie between two."""
    order = rng.permutation(len(prior.pool))[:prior.budget]
    n_beyond = prior.budget - len(order)
    if isinstance(prior.pool, list):
        beyond = [spliced(prior.pool, rng) for _ in range(n_beyond) if prior.pool]
        return [prior.pool[i] for i in order] + beyond
    if not len(order):
        return rng.uniform(prior.lower, prior.upper, (n_beyond, len(prior.lower)))
    one, other = prior.pool[rng.integers(0, len(prior.pool), (2, n_beyond))]
    mixed: Vectors = np.concatenate([prior.pool[order], one + rng.random((n_beyond, 1)) * (other - one)])
    return mixed


class Embedding:
    """A kernel machine that answers with vectors.

    Args:
        inputs: that were learnt, (n, features), or n texts.
        width: of the kernel, in typical distances.

    Attributes:
        shares: of each learnt input, (n, dimensions).
        mean: what is added, (dimensions,).
    """

    def __init__(self, inputs: Inputs, width: float) -> None:
        self.shares: Vectors = np.empty((len(inputs), 0))
        self.mean: Vectors = np.empty(0)
        if isinstance(inputs, np.ndarray):
            self._centre, self._scale = inputs.mean(axis=0), inputs.std(axis=0) + TINY
        self._learnt = self._seen(inputs)
        distances = _distances(self._learnt, self._learnt)
        self._width = max(width * float(np.median(distances)), TINY)

    def embed(self, inputs: Inputs) -> Vectors:
        """Vectors: (queries, dimensions)."""
        found: Vectors = self.mean + self.kernel(inputs) @ self.shares
        return found

    def kernel(self, inputs: Inputs) -> Vectors:
        """How near inputs are to each that was learnt: (queries, n)."""
        near: Vectors = np.exp(-_distances(self._seen(inputs), self._learnt) / self._width)
        return near

    def _seen(self, inputs: Inputs) -> Any:
        if isinstance(inputs, np.ndarray):
            return (inputs - self._centre) / self._scale
        from counterclone.attacks._texts import counted

        return counted(inputs)


def _distances(some: Any, others: Any) -> Vectors:
    """Squared distances, (rows, rows)."""
    products = some @ others.T
    if not isinstance(products, np.ndarray):
        products = np.asarray(products.todense())
        squares = [np.asarray(each.multiply(each).sum(axis=1)).ravel() for each in (some, others)]
    else:
        squares = [(each * each).sum(axis=1) for each in (some, others)]
    found: Vectors = np.maximum(squares[0][:, None] - 2.0 * products + squares[1], 0.0).astype(np.float64)
    return found


class _Way(NamedTuple):
    """How a student is fitted."""

    width: float = WIDTHS[-1]
    strength: float = STRENGTHS[0]
    loss: str = "regression"

    def fitted(self, inputs: Inputs, vectors: Vectors, rng: Generator) -> Embedding:
        made = Embedding(inputs, self.width)
        made.mean = vectors.mean(axis=0)
        kernel = made.kernel(inputs)
        shares = np.linalg.solve(kernel + self.strength * np.eye(len(kernel)), vectors - made.mean)
        made.shares = np.asarray(shares, dtype=np.float64)
        if self.loss == "contrastive":
            _contrast(made, kernel, _unit(vectors), rng)
        return made


def taught(inputs: Inputs, vectors: Vectors, student: str, rng: Generator) -> Embedding:
    """A student of vectors: its width, strength and loss are those that do best on what is held back.

    Args:
        inputs: (n, features), or n texts.
        vectors: (n, dimensions).
        student: `regression`, `contrastive` or `auto`.
        rng: draws what is held back.
    """
    losses = ("regression", "contrastive") if student == "auto" else (student,)
    n_held = int(HELD_OUT * len(vectors))
    if n_held < LEAST_HELD_OUT:
        return _Way(loss=losses[0]).fitted(inputs, vectors, rng)
    held, learnt = np.split(rng.permutation(len(vectors)), [n_held])

    def score(way: _Way) -> float:
        made = way.fitted(_of(inputs, learnt), vectors[learnt], rng)
        return overlap(vectors[held], made.embed(_of(inputs, held)))

    best = max((_Way(width, strength) for width in WIDTHS for strength in STRENGTHS), key=score)
    best = max((best._replace(loss=loss) for loss in losses), key=score)
    return best.fitted(inputs, vectors, rng)


def _of(inputs: Inputs, places: NDArray[np.intp]) -> Inputs:
    return inputs[places] if isinstance(inputs, np.ndarray) else [inputs[i] for i in places]


def _contrast(made: Embedding, kernel: Vectors, aims: Vectors, rng: Generator) -> None:
    """Go on by InfoNCE: of a batch, each vector's match is the target's vector of the same input."""
    n = len(kernel)
    for step in range(STEPS):
        batch = rng.permutation(n)[:BATCH]
        found = made.mean + kernel[batch] @ made.shares
        lengths = np.linalg.norm(found, axis=1, keepdims=True) + TINY
        units = found / lengths
        scores = units @ aims[batch].T / TEMPERATURE
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        wrong = likely / likely.sum(axis=1, keepdims=True) - np.eye(len(batch))
        pull = wrong @ aims[batch] / TEMPERATURE
        slope = (pull - (pull * units).sum(axis=1, keepdims=True) * units) / lengths
        made.shares[batch] -= RATE * (1.0 - step / STEPS) * slope * lengths**2


def _unit(vectors: Vectors) -> Vectors:
    found: Vectors = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + TINY)
    return found

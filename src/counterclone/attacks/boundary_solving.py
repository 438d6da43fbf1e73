"""Solve a linear model's boundaries from its labels."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from counterclone.answers import top_labels
from counterclone.attacks._box import Box
from counterclone.attacks._linear import LinearLabels, Parameters, uncoordinated, with_ones
from counterclone.attacks._notebook import Asks, Notebook
from counterclone.attacks._regression import by_labels
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.queries import Features
from counterclone.randomness import Generator

ENDS = 60
"""Labelled inputs for each class, to bisect between."""
BEYOND = 3.0
FARTHEST = 0.7
"""Of the way from a row of the pool to an input drawn evenly."""
FEWEST_BITS = 6
EXACT = 1e-4
"""How far off a boundary, in half widths of the box, a point on it may lie."""
MOST_UNKNOWNS = 4000
"""The decomposition of more takes minutes."""
NEVER = -1e6


class BoundarySolving(Spec, frozen=True):
    """Solve for the boundaries of a linear model from its labels alone.

    Halving the way between two inputs of different labels finds a point of the boundary between two classes, a bit
    for each query; each point is a linear equation in the difference of their parameters, and all equations
    together have one solution, the model up to a factor. Where values beyond the sensible range are answered
    (open domain) it asks in a box three times as wide, where all classes meet; where they aren't (clipped domain),
    within the range. Half of its inputs lie near the pool, so that no class is missed.

    Needs labels only: about `points` times `bits` queries a parameter. With fewer it bisects less, down to six
    bits, and takes a regression on all labels where that explains them better; with fewer still, it retrains on
    labels alone. What it builds knows labels only. It can't copy what isn't linear.

    Tramer et al. 2016, "Stealing Machine Learning Models via Prediction APIs", section 6; Lowd and Meek 2005,
    "Adversarial Learning".
    """

    bits: Annotated[int, Meta(ge=FEWEST_BITS, le=48)] = 24
    points: Annotated[float, Meta(ge=1.0)] = 1.1

    needs: ClassVar[frozenset[str]] = frozenset({"numbers"})
    is_exact: ClassVar[bool] = True

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask, and solve."""
        solving = _Solving(prior, rng)
        try:
            return (yield from solving.solve(self.bits, self.points))
        except BudgetExhausted:
            return solving.retrained()


class Boundary(NamedTuple):
    """Points where two classes meet.

    Attributes:
        points: coordinates and a column of ones, (n, features + 1).
        inside: the class on one side, (n,).
        outside: the class on the other.
    """

    points: Features
    inside: NDArray[np.intp]
    outside: NDArray[np.intp]

    def part(self, rows: slice) -> Boundary:
        """Some of them."""
        return Boundary(self.points[rows], self.inside[rows], self.outside[rows])


class _Solving:
    """One run."""

    def __init__(self, prior: Prior, rng: Generator) -> None:
        self._near = Box.of(prior)
        self._box = self._near.widened(BEYOND) if prior.is_open else self._near
        self._pool = np.asarray(prior.pool, dtype=np.float64)
        self._rng = rng
        self._notes = Notebook(prior)
        self._classes = prior.classes

    def solve(self, most_bits: int, points: float) -> Asks[LinearLabels | None]:
        """Find points of the boundaries, and solve for the model."""
        unknowns = (len(self._near.centre) + 1) * (self._classes - 1)
        n_points, n_ends = math.ceil(points * unknowns), ENDS * self._classes
        bits = min((self._notes.left - n_ends) // max(n_points, 1), most_bits)
        if bits < FEWEST_BITS or unknowns > MOST_UNKNOWNS:
            n_ends = self._notes.left
        yield from self._notes.ask(self._ends(n_ends))
        if self._notes.left and len(np.unique(self._notes.labels)) < 2:
            yield from self._notes.ask(self._ends(self._notes.left))
        if not self._notes.left:
            return self.retrained()
        boundary = yield from self._bisected(n_points, bits)
        return self._better(*solved(boundary, self._classes, (n_points - unknowns) // 2))

    def _ends(self, n: int) -> Features:
        """Inputs all over the box, and every second one near the pool: (n, features)."""
        ends = self._box.uniform(self._rng, n)
        if len(self._pool):
            rows = self._pool[self._rng.integers(0, len(self._pool), len(ends[::2]))]
            ways = self._near.uniform(self._rng, len(rows)) - rows
            ends[::2] = rows + FARTHEST * self._rng.uniform(size=(len(rows), 1)) * ways
        return ends

    def _bisected(self, n: int, bits: int) -> Asks[Boundary]:
        """Halve the ways between inputs of different labels, all at once; each class has its share of them."""
        inputs, labels = self._notes.inputs, self._notes.labels
        own = list(itertools.islice(itertools.cycle(np.unique(labels)), n))
        near = np.array([self._rng.choice(np.flatnonzero(labels == label)) for label in own])
        far = np.array([self._rng.choice(np.flatnonzero(labels != label)) for label in own])
        here, there, outside = inputs[near], inputs[far], labels[far]
        for _ in range(bits):
            middle = (here + there) / 2.0
            found = top_labels((yield from self._notes.ask(middle)).rows)
            is_inside = found == labels[near]
            here[is_inside] = middle[is_inside]
            there[~is_inside], outside[~is_inside] = middle[~is_inside], found[~is_inside]
        return Boundary(with_ones(self._box.coordinates((here + there) / 2.0)), labels[near], outside)

    def _better(self, boundaries: Parameters, is_verified: bool) -> LinearLabels | None:
        """The solution, or the regression where that explains more of the labels."""
        ways = [LinearLabels(uncoordinated(sign * boundaries, self._box), is_verified=is_verified)
                for sign in (1.0, -1.0)]
        if not is_verified and (retrained := self.retrained()) is not None:
            ways.append(retrained)
        return max(ways, key=self._explained)

    def _explained(self, model: LinearLabels) -> float:
        found: float = (top_labels(model.answer(self._notes.inputs)) == self._notes.labels).mean()
        return found

    def retrained(self) -> LinearLabels | None:
        """A regression on all labels; None where there are none."""
        if not len(self._notes):
            return None
        parameters = by_labels(with_ones(self._box.coordinates(self._notes.inputs)), self._notes.rows)
        return LinearLabels(uncoordinated(parameters, self._box))


def solved(boundary: Boundary, classes: int, n_held: int) -> tuple[Parameters, bool]:
    """The linear model whose boundaries go through points, up to a factor of either sign.

    Args:
        boundary: the points.
        classes: how many there are; one that no point borders on never wins.
        n_held: how many points are held back first.

    Returns:
        Its parameters, (classes, features + 1), and whether points that were held back lie on its boundaries.
    """
    n_fitted = len(boundary.points) - n_held
    held = boundary.part(slice(n_fitted, None))
    found = _null_vector(boundary.part(slice(n_fitted)), classes)
    differences = found[held.inside] - found[held.outside]
    lengths = np.sqrt((differences[:, :-1]**2).sum(axis=1))
    is_verified = n_held > 0 and bool(
        (np.abs((differences * held.points).sum(axis=1)) <= EXACT * lengths).all())
    found = _null_vector(boundary, classes)
    absent = np.setdiff1d(np.arange(classes), [*boundary.inside, *boundary.outside])
    found[absent, -1] = NEVER
    return found, is_verified


def _null_vector(boundary: Boundary, classes: int) -> Parameters:
    """What the equations leave free, by least squares; the parameters of each feature sum to 0."""
    used = np.flatnonzero(boundary.points.any(axis=0))  # a feature of one value would leave itself free
    present = np.unique([*boundary.inside, *boundary.outside])
    n, width = len(boundary.points), len(used)
    equations = np.zeros((n + width, classes, width))
    each, features = np.arange(n), np.arange(width)
    equations[each, boundary.inside] += boundary.points[:, used]
    equations[each, boundary.outside] -= boundary.points[:, used]
    equations[n + features, :, features] = 1.0
    vectors = np.linalg.svd(equations[:, present].reshape(n + width, -1))[2]
    parameters = np.zeros((classes, boundary.points.shape[1]))
    parameters[np.ix_(present, used)] = vectors[-1].reshape(len(present), width)
    return parameters

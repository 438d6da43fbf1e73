"""Where a piecewise linear function bends along a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.attacks._hinges import Values
from counterclone.attacks._notebook import Asks
from counterclone.queries import Features

LEAST_WIDTH = 1e-4
"""Of a line: what is shorter isn't divided."""
MOST_OPEN = 1024
"""Pieces that are divided at once; with more, the function is curved."""
SLACK = 30.0
"""Errors that are so many times the noise aren't noise."""

Asked = Callable[[Features], Asks[Values]]


class Line(NamedTuple):
    """The points start + t * direction, t from 0 to 1; both are (features,)."""

    start: Features
    direction: Features

    @property
    def length(self) -> float:
        """From end to end."""
        return float(np.linalg.norm(self.direction))

    def at(self, places: NDArray[np.float64]) -> Features:
        """The points at places t, (n,): (n, features)."""
        return self.start + places[:, None] * self.direction


class Kink(NamedTuple):
    """A bend.

    Attributes:
        point: where it is, (features,).
        direction: of the line, of length 1: (features,).
        jump: how much the slope changes.
        room: the distance to the next bend or end of the line.
    """

    point: Features
    direction: Features
    jump: float
    room: float


class Node(NamedTuple):
    """What is seen at a place of a line.

    Attributes:
        place: t.
        value: the function, (classes,).
        slope: how it changes with t, (classes,).
    """

    place: float
    value: Values
    slope: Values

    @property
    def is_told(self) -> bool:
        """Whether all of it is numbers."""
        return bool(np.isfinite(self.slope).all())

    def at(self, place: float) -> Values:
        """What would be at another place if nothing bent between them: (classes,)."""
        value: Values = self.value + (place - self.place) * self.slope
        return value


class Piece(NamedTuple):
    """A part of a line between two nodes."""

    left: Node
    right: Node

    @property
    def width(self) -> float:
        """In t."""
        return self.right.place - self.left.place

    def is_straight(self, tolerance: float) -> bool:
        """Whether each end foretells the other."""
        left, right = self
        return bool(np.abs(left.at(right.place) - right.value).max() <= tolerance
                    and np.abs(right.at(left.place) - left.value).max() <= tolerance)

    def crossing(self, tolerance: float) -> float | None:
        """Where the straight lines through both ends meet; None where they don't."""
        left, right = self
        jump = right.slope - left.slope
        size = float(jump @ jump)
        if not (np.isfinite(size) and size > 0.0):
            return None
        place = right.place + float(jump @ (left.at(right.place) - right.value)) / size
        if not left.place < place < right.place:
            return None
        return place if np.abs(left.at(place) - right.at(place)).max() <= tolerance else None


class Sight(NamedTuple):
    """How well the function is seen.

    Attributes:
        step: of t, between the two points that tell a slope.
        noise: standard deviation of its errors.
        blur: errors that change so slowly that they don't count for slopes.
    """

    step: float
    noise: float
    blur: float

    def tolerance(self, piece: Piece) -> float:
        """What isn't a bend; the error of a slope grows with the distance that it is followed."""
        return SLACK * (self.noise * (1.0 + piece.width / self.step) + self.blur)


def bends(line: Line, ask: Asked, sight: Sight, most: int) -> Asks[list[Kink] | None]:
    """Every bend on a line: pieces are halved until each is straight or has one.

    Slopes at both ends of a piece say where a single bend must be, and a query there shows whether it is.

    Args:
        line: where to look.
        ask: the function.
        sight: how well it is seen.
        most: bends that are wanted.

    Returns:
        None where there are more, or the function is curved.
    """
    step = sight.step
    pieces = [Piece(*(yield from _nodes(line, ask, np.array([step, 1.0 - step]), step)))]
    found: list[tuple[float, float]] = []
    while pieces:
        bent = [piece for piece in pieces if not piece.is_straight(sight.tolerance(piece))]
        crossings = [piece.crossing(sight.tolerance(piece)) for piece in bent]
        guesses = np.array([place for place in crossings if place is not None])
        values = iter((yield from ask(line.at(guesses))) if len(guesses) else ())
        divided = []
        for piece, place in zip(bent, crossings, strict=True):
            if place is not None and np.abs(next(values) - piece.left.at(place)).max() <= sight.tolerance(piece):
                found.append((place, float(np.linalg.norm(piece.right.slope - piece.left.slope))))
            elif piece.width > max(LEAST_WIDTH, 4.0 * step) and (piece.left.is_told or piece.right.is_told):
                divided.append(piece)
        if len(divided) > MOST_OPEN or len(found) + 2 * len(divided) > most:  # a divided piece has two or more
            return None
        pieces = (yield from _halved(divided, line, ask, step)) if divided else []
    return _kinks(line, sorted(found))


def _nodes(line: Line, ask: Asked, places: NDArray[np.float64], step: float) -> Asks[list[Node]]:
    values = yield from ask(line.at(np.concatenate([places - step / 2.0, places + step / 2.0])))
    before, after = np.split(values, 2)
    return [Node(float(place), (one + other) / 2.0, (other - one) / step)
            for place, one, other in zip(places, before, after, strict=True)]


def _halved(pieces: list[Piece], line: Line, ask: Asked, step: float) -> Asks[list[Piece]]:
    middles = np.array([(piece.left.place + piece.right.place) / 2.0 for piece in pieces])
    nodes = yield from _nodes(line, ask, middles, step)
    halves = [(Piece(piece.left, node), Piece(node, piece.right))
              for piece, node in zip(pieces, nodes, strict=True)]
    return [half for pair in halves for half in pair]


def _kinks(line: Line, found: list[tuple[float, float]]) -> list[Kink]:
    gaps = np.diff([0.0, *(place for place, _ in found), 1.0]) * line.length
    points = line.at(np.array([place for place, _ in found]))
    return [Kink(points[i], line.direction / line.length, jump / line.length, float(min(gaps[i], gaps[i + 1])))
            for i, (_, jump) in enumerate(found)]

"""One search for accounts that act alike: learned on half of the accounts, tested on the other, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterclone.randomness import generator
from counterclone.watch import _evidence, _graph, _mixture, _trees
from counterclone.watch._evidence import Scores
from counterclone.watch._mixture import Cloud
from counterclone.watch._space import Points, Space

FEWEST_ACCOUNTS = 40
"""Of either side in either half; fewer aren't searched."""
_SIZES = (40, 400, 4_000)
_GRAPH_STARTS = 3
_N_LEARNERS = 2
_GRAIN = 0.3
"""Of the noise on each coordinate, whose honest deviation is 1."""
_SURE = 1e-6
_LIKE_MEMBERS = 0.1
"""Accounts that one honest account of ten outranks or fewer aren't looked at again, named or not."""

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        p_value: that honest accounts alone look so.
        members: rows of the accounts that can be named.
        like: rows of accounts that a second search should leave out, members among them.
    """

    p_value: float
    members: Rows
    like: Rows


@dataclass(frozen=True)
class _Half:
    rows: Rows
    profiles: Points
    honest: Points


@dataclass(frozen=True)
class _Lesson:
    """What one half teaches.

    Attributes:
        space: where honest accounts are round.
        moved: the same about the traffic's middle.
        clouds: the one that shows most where it was learned first.
        shown: how much, as a p-value that means nothing else.
        trees: that tell suspects from honest accounts.
    """

    space: Space
    moved: Space
    clouds: list[Cloud]
    shown: float
    trees: Callable[[Points], Scores]


@dataclass(frozen=True)
class _Test:
    p_value: float
    ranks: Scores


def search(profiles: Points, is_first: NDArray[np.bool_], reference: Points, is_first_honest: NDArray[np.bool_],
           *, fdr: float, seed: int) -> Found | None:
    """Search accounts' profiles, (n, dimensions); None where there are too few.

    Args:
        profiles: accounts under suspicion.
        is_first: which half each is in, (n,).
        reference: honest accounts' profiles, (m, dimensions).
        is_first_honest: which half each is in, (m,).
        fdr: of the members, the share that may be honest.
        seed: of the graph's search.
    """
    profiles, reference = (_dithered(points, seed, name) for points, name in
                           ((profiles, "profiles"), (reference, "reference")))
    halves = [_Half(np.flatnonzero(is_first == is_side), profiles[is_first == is_side],
                    reference[is_first_honest == is_side]) for is_side in (True, False)]
    if min(len(part) for half in halves for part in (half.profiles, half.honest)) < FEWEST_ACCOUNTS:
        return None
    lessons = [_learned(half, seed) for half in halves]
    leader, follower = sorted(lessons, key=lambda lesson: lesson.shown)
    p_value, ranks = 1.0, np.ones(len(profiles))
    for lesson, half in zip(lessons, halves[::-1], strict=True):
        best = _best(_tests(lesson, half, leader.clouds if lesson is follower else []))
        p_value = min(p_value, best.p_value * len(halves))
        ranks[half.rows] = best.ranks
    is_named = _evidence.discoveries(ranks, fdr)
    return Found(min(p_value, 1.0), np.flatnonzero(is_named), np.flatnonzero(is_named | (ranks <= _LIKE_MEMBERS)))


def _dithered(points: Points, seed: int, name: str) -> Points:
    """Points with noise that hides which values figures of few values have: trees would find a hair's shift."""
    return points + generator(seed, "dither", name).uniform(-_GRAIN, _GRAIN, points.shape)


def _best(tests: Sequence[_Test]) -> _Test:
    """The surest test, or the first that is sure enough; their number is paid for."""
    return next((test for test in tests if test.p_value <= _SURE), min(tests, key=lambda test: test.p_value))


def _learned(half: _Half, seed: int) -> _Lesson:
    space = Space.fit(half.honest)
    moved = space.moved(half.profiles)
    points, honest = moved.place(half.profiles), space.place(half.honest)
    trees = _trees.learn(points, honest)
    clouds = _mixture.grow(space, points, honest, _starts(points, honest, trees(points), seed))
    shown = [_evidence.excess(cloud.learned, cloud.score(honest)) for cloud in clouds]
    order = np.argsort(shown, kind="stable")
    return _Lesson(space, moved, [clouds[i] for i in order], min(shown, default=1.0), trees)


def _tests(lesson: _Lesson, half: _Half, leading: Sequence[Cloud]) -> list[_Test]:
    """A cloud and the trees on the half that they weren't learned from, each half's accounts about its own middle.

    Where the other half leads, of two campaigns both halves must follow the same one: the cloud most like the
    leading one is taken, which looks at what it is tested on, so every cloud that it is chosen from is paid for.
    """
    clouds, paid = lesson.clouds[:1], 1
    if leading and lesson.clouds:
        clouds, paid = [max(lesson.clouds, key=lambda cloud: cloud.likeness(leading[0]))], len(lesson.clouds)
    points, honest = lesson.moved.place(half.profiles), lesson.space.place(half.honest)
    tests = []
    for score, price in [*((cloud.score, paid) for cloud in clouds), (lesson.trees, 1)]:  # trees name less exactly
        scores, honest_scores = score(points), score(honest)
        p_value = _evidence.excess(scores, honest_scores) * price * _N_LEARNERS
        tests.append(_Test(min(p_value, 1.0), _evidence.ranks(scores, honest_scores)))
    return tests


def _starts(points: Points, honest: Points, by_trees: Scores, seed: int) -> list[Rows]:
    furthest = np.argsort(-(points**2).sum(axis=1), kind="stable")
    towards = np.argsort(-(points @ (points.mean(axis=0) - honest.mean(axis=0))), kind="stable")
    likeliest = np.argsort(-by_trees, kind="stable")
    most = len(points) // 2
    ranked = [order[:n] for order in (furthest, towards, likeliest) for n in _SIZES if n <= most]
    return [*ranked, *_graph.groups(points, honest, _GRAPH_STARTS, seed)]

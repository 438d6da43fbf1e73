"""One search for accounts that act alike: learned on half of the accounts, tested on the other, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterclone.watch import _evidence, _graph, _mixture, _trees
from counterclone.watch._evidence import Scores
from counterclone.watch._space import Points, Space

FEWEST_ACCOUNTS = 40
"""Of either side in either half; fewer aren't searched."""
_SIZES = (40, 400, 4_000)
_GRAPH_STARTS = 3
_N_LEARNERS = 2
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
    halves = [_Half(np.flatnonzero(is_first == is_side), profiles[is_first == is_side],
                    reference[is_first_honest == is_side]) for is_side in (True, False)]
    if min(len(part) for half in halves for part in (half.profiles, half.honest)) < FEWEST_ACCOUNTS:
        return None
    p_value, ranks = 1.0, np.ones(len(profiles))
    for learn, test in (halves, halves[::-1]):
        best = _best(_tests(learn, test, seed))
        p_value = min(p_value, best.p_value * _N_LEARNERS * len(halves))
        ranks[test.rows] = best.ranks
    is_named = _evidence.discoveries(ranks, fdr)
    return Found(min(p_value, 1.0), np.flatnonzero(is_named), np.flatnonzero(is_named | (ranks <= _LIKE_MEMBERS)))


def _best(tests: Sequence[_Test]) -> _Test:
    """The surest test, or the first that is sure enough; their number is paid for."""
    return next((test for test in tests if test.p_value <= _SURE), min(tests, key=lambda test: test.p_value))


def _tests(learn: _Half, test: _Half, seed: int) -> list[_Test]:
    """Learners of one half on the other, each half's accounts where its own middle is."""
    space = Space.fit(learn.honest)
    moved = space.moved(learn.profiles)
    points, honest = moved.place(test.profiles), space.place(test.honest)
    tests = []
    for score in _learners(space, moved.place(learn.profiles), space.place(learn.honest), seed):
        scores, honest_scores = score(points), score(honest)
        tests.append(_Test(_evidence.excess(scores, honest_scores), _evidence.ranks(scores, honest_scores)))
    return tests


def _learners(space: Space, points: Points, honest: Points, seed: int) -> list[Callable[[Points], Scores]]:
    """The cloud that shows most where it was learned, of all starts, and the trees, which name less exactly."""
    trees = _trees.learn(points, honest)
    clouds = _mixture.grow(space, points, honest, _starts(points, honest, trees(points), seed))
    shown = [_evidence.excess(cloud.learned, cloud.score(honest)) for cloud in clouds]
    return [*([clouds[int(np.argmin(shown))].score] if clouds else []), trees]


def _starts(points: Points, honest: Points, by_trees: Scores, seed: int) -> list[Rows]:
    furthest = np.argsort(-(points**2).sum(axis=1), kind="stable")
    towards = np.argsort(-(points @ (points.mean(axis=0) - honest.mean(axis=0))), kind="stable")
    likeliest = np.argsort(-by_trees, kind="stable")
    most = len(points) // 2
    ranked = [order[:n] for order in (furthest, towards, likeliest) for n in _SIZES if n <= most]
    return [*ranked, *_graph.groups(points, honest, _GRAPH_STARTS, seed)]

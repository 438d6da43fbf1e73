"""Groups of accounts that are each other's nearest: where a cloud of about fifty starts.

Groups are looked for on one half of the accounts only and tested on the other, so a group needs no threshold of
its own: honest accounts form groups as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from counterclone.randomness import generator
from counterclone.watch._space import Points

MOST_ACCOUNTS = 12_000
"""That are compared with each other; of more, those furthest from the honest centre."""
_NEIGHBOURS = 10
_FEWEST = 8


def groups(points: Points, honest: Points, most: int, seed: int) -> list[NDArray[np.intp]]:
    """Groups with more accounts under suspicion than honest ones would put there, the strangest first.

    Args:
        points: accounts under suspicion, (n, dimensions).
        honest: honest accounts, (m, dimensions), which are in the graph as well.
        most: groups.
        seed: of the search for groups.
    """
    both = np.concatenate([points, honest])
    lengths = np.sqrt((both**2).sum(axis=1))
    used = np.sort(np.argsort(-lengths, kind="stable")[:MOST_ACCOUNTS])
    places = (both[used] / np.maximum(lengths[used, np.newaxis], 1e-12)).astype(np.float32)
    is_suspect = used < len(points)
    of_nodes = communities(*_mutual(places), len(used), seed)
    share = max(is_suspect.mean(), 1e-12)
    found = []
    for number in range(int(of_nodes.max(initial=-1)) + 1):
        members = np.flatnonzero(of_nodes == number)
        n_suspects = int(is_suspect[members].sum())
        if n_suspects >= _FEWEST:
            p_value = float(stats.binom.sf(n_suspects - 1, len(members), share))
            found.append((p_value, number, used[members[is_suspect[members]]]))
    return [members for _, _, members in sorted(found, key=lambda group: group[:2])[:most]]


def _mutual(places: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Pairs (pairs, 2) that are among each other's nearest by angle, with their cosines (pairs,)."""
    from sklearn.neighbors import NearestNeighbors

    n = len(places)
    k = min(_NEIGHBOURS, n - 1)
    finder = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(places)
    distances, nearest = finder.kneighbors()  # on a sphere they tell the cosine
    cosines = 1.0 - distances.ravel().astype(np.float64)**2 / 2.0
    ones, others = np.repeat(np.arange(n), k), nearest.ravel()
    is_kept = (ones < others) & np.isin(others * n + ones, ones * n + others) & (cosines > 0.0)
    return np.stack([ones, others], axis=1)[is_kept], cosines[is_kept]


def communities(edges: NDArray[np.intp], weights: NDArray[np.float64], n: int, seed: int) -> NDArray[np.intp]:
    """The number of each node's community, (n,) (Leiden: Traag, Waltman, van Eck 2019).

    Args:
        edges: pairs of nodes, (edges, 2).
        weights: of the edges, (edges,).
        n: nodes.
        seed: of the search.
    """
    import igraph

    graph = igraph.Graph(n=n, edges=edges)
    igraph.set_random_number_generator(_Dice(seed))
    try:
        found = graph.community_leiden(objective_function="modularity", weights=weights.tolist(), n_iterations=3)
    finally:
        igraph.set_random_number_generator(None)
    return np.asarray(found.membership, dtype=np.intp)


class _Dice:
    """The draws that igraph makes, from our generator."""

    def __init__(self, seed: int) -> None:
        self._rng = generator(seed, "leiden")

    def getrandbits(self, n_bits: int) -> int:
        return int(self._rng.integers(0, 2**n_bits, dtype=np.uint64))

    def randint(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high, endpoint=True))

    def random(self) -> float:
        return float(self._rng.random())

    def gauss(self, mean: float, deviation: float) -> float:
        return float(self._rng.normal(mean, deviation))

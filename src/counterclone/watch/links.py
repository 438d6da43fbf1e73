"""What accounts share beside what they ask: addresses, payments, hours of birth, single queries.

Two accounts of one owner share a value about as often as owners reuse things; two honest accounts share it by
chance, with the value's own frequency. The logarithm of the two chances' ratio is the link's weight of evidence
(Good 1950). A value that many honest accounts have, such as a mobile network's address, so weighs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterclone.protocols import States
from counterclone.randomness import generator
from counterclone.watch._graph import communities

KINDS = ("payment", "ip", "user_agent", "asn")
"""What `meta` may hold that links accounts."""
LEAST_WEIGHT = math.log(50.0)
"""A value that one honest account of fifty has links nobody."""
_REUSE = 0.5
"""How often an owner's account has what another of them has."""
_FEWEST = 5
_SUBSETS = 200
_MOST_COMPARED = 2_000
_MINUTES_OF_BIRTH = 10.0

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Trait:
    """Which accounts have which values of one kind.

    Attributes:
        kind: what it is, in words for reasons.
        accounts: rows of accounts under suspicion, (e,).
        values: what each has, as whole numbers, (e,).
        honest_accounts: rows of honest accounts, (h,).
        honest_values: likewise, (h,).
    """

    kind: str
    accounts: Rows
    values: NDArray[np.int64]
    honest_accounts: Rows
    honest_values: NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Accounts that are linked.

    Attributes:
        rows: theirs, (members,).
        weight: of evidence, in nats, for an average member.
        reasons: what links them, the heaviest first.
    """

    rows: Rows
    weight: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Tie:
    """A value that accounts share.

    Attributes:
        kind: what it is, in words.
        rows: of those who have it, (sharing,).
        weight: of evidence for each, in nats.
    """

    kind: str
    rows: Rows
    weight: float


class Links:
    """What accounts share.

    Args:
        traits: by kind.
        n_accounts: under suspicion.
        n_honest: in the reference.
        kept: what each account's sample of queries keeps, (accounts, slots), 0 for nothing; None where unknown.
        honest_kept: likewise, (honest, slots).
    """

    def __init__(self, traits: Sequence[Trait], n_accounts: int, n_honest: int, kept: States | None = None,
                 honest_kept: States | None = None) -> None:
        self.n_accounts, self.n_honest = n_accounts, n_honest
        self._kept, self._honest_kept = kept, honest_kept
        self._edges = [_edges(trait, n_accounts, n_honest) for trait in traits]
        self._kinds = [trait.kind for trait in traits]

    def groups(self, seed: int = 0) -> list[Group]:
        """Accounts that values link, the heaviest links first; an account is in one group at most.

        Accounts and values are the nodes of one graph, so that a value of thousands of accounts costs no more
        edges than they are.
        """
        accounts = np.concatenate([edges.accounts for edges in self._edges] or [np.empty(0, dtype=np.intp)])
        if not len(accounts):
            return []
        firsts = np.cumsum([0, *(edges.n_values for edges in self._edges)])
        values = np.concatenate([edges.values + first for edges, first in zip(self._edges, firsts, strict=False)])
        weights = np.concatenate([edges.weights for edges in self._edges])
        used, places = np.unique(accounts, return_inverse=True)
        pairs = np.stack([places, values + len(used)], axis=1)
        of_nodes = communities(pairs, weights, len(used) + int(firsts[-1]), seed)[:len(used)]
        order = np.argsort(of_nodes, kind="stable")
        cuts = np.flatnonzero(np.diff(of_nodes[order])) + 1
        groups = [self._group(used[part]) for part in np.split(order, cuts) if len(part) >= _FEWEST]
        return sorted(groups, key=lambda group: (-group.weight * math.log(len(group.rows)), int(group.rows[0])))

    def reasons(self, rows: Rows) -> tuple[str, ...]:
        """What some accounts share more than chance, the heaviest first."""
        return self._group(rows).reasons

    def ties(self, rows: Rows) -> list[Tie]:
        """The values that some accounts share more than chance, the heaviest first."""
        found = []
        for kind, edges in zip(self._kinds, self._edges, strict=True):
            inside = np.flatnonzero(np.isin(edges.accounts, rows))
            inside = inside[np.argsort(edges.values[inside], kind="stable")]
            parts = np.split(inside, np.flatnonzero(np.diff(edges.values[inside])) + 1)
            found += [Tie(kind, edges.accounts[part], float(edges.weights[part[0]]))
                      for part in parts if len(part) > 1]
        return sorted(found, key=lambda tie: (-tie.weight * len(tie.rows), tie.rows.tolist()))

    def disjointness(self, rows: Rows, seed: int = 0) -> float:
        """The p-value that as many honest accounts would ask each other's queries as seldom; 1 where unknown.

        A pool that is cut into shards for its accounts repeats nothing; honest people meet at popular queries.
        Honest accounts that ask as much are drawn as often as it takes for a rank. What few would share anyway
        says nothing.
        """
        if self._kept is None or self._honest_kept is None or not len(rows):
            return 1.0
        rng = generator(seed, "disjointness", len(rows))
        if len(rows) > _MOST_COMPARED:
            rows = np.sort(rng.choice(rows, _MOST_COMPARED, replace=False))
        sizes = (self._kept[rows] > 0).sum(axis=1)
        honest_sizes = (self._honest_kept > 0).sum(axis=1)
        order = np.argsort(honest_sizes, kind="stable")
        # with each member stands an honest account of about its number of different queries
        reach = max(len(order) // 50, 10)
        firsts = np.maximum(np.searchsorted(honest_sizes[order], sizes) - reach, 0)
        lasts = np.minimum(np.searchsorted(honest_sizes[order], sizes, side="right") + reach, len(order))
        seen = _meetings(self._kept[rows])
        as_few = 0
        for _ in range(_SUBSETS):
            drawn = rng.integers(np.minimum(firsts, lasts - 1), lasts)
            as_few += _meetings(self._honest_kept[order[np.unique(drawn)]]) <= seen
        return (1.0 + as_few) / (1.0 + _SUBSETS)

    def _group(self, rows: Rows) -> Group:
        weight, found = 0.0, []
        is_member = np.zeros(self.n_accounts, dtype=np.bool_)
        is_member[rows] = True
        for kind, edges in zip(self._kinds, self._edges, strict=True):
            inside = np.flatnonzero(is_member[edges.accounts])
            sizes = np.bincount(edges.values[inside], minlength=edges.n_values)
            inside = inside[sizes[edges.values[inside]] > 1]
            if len(inside):
                evidence = float(edges.weights[inside].sum()) / len(rows)
                n_sharing = len(np.unique(edges.accounts[inside]))
                n_values = len(np.unique(edges.values[inside]))
                found.append((evidence, f"{n_sharing} of {len(rows)} accounts share {n_values} {kind} "
                                        f"({evidence:.1f} nats of evidence each)"))
                weight += evidence
        return Group(rows, weight, tuple(text for _, text in sorted(found, reverse=True)))


@dataclass(frozen=True)
class _Edges:
    accounts: Rows
    values: NDArray[np.intp]
    weights: NDArray[np.float64]
    n_values: int


def _edges(trait: Trait, n_accounts: int, n_honest: int) -> _Edges:
    """The links of a trait that weigh enough; a value that one account has links nobody."""
    pairs = np.unique(np.stack([trait.values, trait.accounts.astype(np.int64)], axis=1), axis=0)
    known, places, counts = np.unique(pairs[:, 0], return_inverse=True, return_counts=True)
    honest = np.stack([trait.honest_values, trait.honest_accounts.astype(np.int64)], axis=1)
    honest_known, honest_counts = np.unique(np.unique(honest, axis=0)[:, 0], return_counts=True)
    at = np.searchsorted(honest_known, known).clip(max=max(len(honest_known) - 1, 0))
    is_known = honest_known[at] == known if len(honest_known) else np.zeros(len(known), dtype=np.bool_)
    in_honest = np.where(is_known, honest_counts[at] if len(honest_known) else 0, 0)
    # without honest accounts a value counts as common as it is among the suspects
    frequency = (in_honest + 0.5) / (n_honest + 1.0) if n_honest else counts / max(n_accounts, 1)
    # honest accounts also share values that the reference doesn't know: as many of them as share such groups
    sizes = np.sort(np.repeat(honest_counts, honest_counts))
    as_large = len(sizes) - np.searchsorted(sizes, np.ceil(counts * n_honest / max(n_accounts, 1)), side="left")
    grouped = (as_large + 1.0) / (n_honest + 1.0) if n_honest else np.zeros(len(known))
    weights = np.log(_REUSE / np.maximum(frequency, grouped))
    kept = np.flatnonzero((counts > 1) & (weights >= LEAST_WEIGHT))
    numbers = np.full(len(known), -1, dtype=np.intp)
    numbers[kept] = np.arange(len(kept))
    rows = np.flatnonzero(numbers[places] >= 0)
    values = numbers[places[rows]]
    return _Edges(pairs[rows, 1].astype(np.intp), values, weights[kept][values], len(kept))


def meta_traits(meta: Sequence[Mapping[str, Hashable]],
                honest_meta: Sequence[Mapping[str, Hashable]]) -> list[Trait]:
    """What accounts' `meta` says, by kind; whatever is missing or no plain value links nobody.

    Args:
        meta: of the accounts under suspicion, (accounts,).
        honest_meta: of the reference, (honest,); empty maps where it isn't known.
    """
    traits = []
    for kind in KINDS:
        codes: dict[Hashable, int] = {}
        sides = []
        for side in (meta, honest_meta):
            found = [(row, codes.setdefault(value, len(codes))) for row, each in enumerate(side)
                     if _is_plain(value := each.get(kind))]
            table = np.array(found, dtype=np.int64).reshape(-1, 2)
            sides += [table[:, 0].astype(np.intp), table[:, 1]]
        traits.append(Trait(kind, *sides))
    return [trait for trait in traits if len(trait.accounts)]


def births(first_times: NDArray[np.float64], honest_first_times: NDArray[np.float64]) -> Trait:
    """Which accounts began within the same ten minutes: (accounts,) and (honest,), in seconds.

    Honest accounts that began at other times don't know these minutes, so their own crowds tell how common one is.
    """
    sides = []
    for times in (first_times, honest_first_times):
        rows = np.flatnonzero(np.isfinite(times))
        sides.append((rows, np.floor(times[rows] / (60.0 * _MINUTES_OF_BIRTH)).astype(np.int64)))
    return Trait("ten minutes of their first query", sides[0][0], sides[0][1], sides[1][0], sides[1][1])


def _is_plain(value: Hashable) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""


def _meetings(kept: States) -> int:
    """Pairs of accounts that keep the same in a slot, over all slots: (accounts, slots)."""
    keys = np.sort(kept, axis=0)
    is_same = (keys[1:] == keys[:-1]) & (keys[1:] > 0)
    # c equal keys are c (c - 1) / 2 pairs: the k-th of a run meets k - 1 before it
    runs = np.zeros(keys.shape[1], dtype=np.int64)
    pairs = 0
    for row in is_same:
        runs = (runs + 1) * row
        pairs += int(runs.sum())
    return pairs

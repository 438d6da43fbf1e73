"""Accounts that act as one: found among all accounts of a night, at a stated false-alarm rate.

What makes a campaign is learned on half of the accounts and tested on the other half, against honest accounts
that weren't learned from either; then the halves swap. Splitting exchanges in place of accounts would leave each
account's tastes in both halves. The volume that an account asks is never looked at: an attacker chooses it.

An alarm needs two things: the test's p-value, against honest accounts that may have drifted, and members that
can be named. An honest team of one style may pass the first; it names nobody.

Accounts that links make a group are taken as one account as well, and its merged summary is scored: what honest
queries hide in each account, they don't hide in all of them together.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from counterclone.randomness import Prf
from counterclone.watch import _evidence
from counterclone.watch._evidence import reference_needed
from counterclone.watch._search import FEWEST_ACCOUNTS, Found, search
from counterclone.watch._space import Points, Space, middle
from counterclone.watch.levels import risk_of
from counterclone.watch.links import Links, Tie

__all__ = ["FDR", "FEWEST_MEMBERS", "FEWEST_QUERIES", "Campaign", "Union", "find", "reference_needed"]

FDR = 0.03
"""Of the accounts named, the share that may be honest."""
FEWEST_QUERIES = 5
FEWEST_MEMBERS = 5
"""Fewer aren't told from chance."""
_MOST_CAMPAIGNS = 4
_SAME = 0.7
"""The cosine of two groups' directions from which on they are one campaign."""
_CONTENT_SHARE = 0.5  # of a level; the rest is for linked groups
_REASONS = 3
_NARROWEST = 0.3
"""Of a coordinate on which most accounts are the same: an honest deviation is 1, a hair is no reason."""

Rows = NDArray[np.intp]
Union = Callable[[Sequence[str]], float]
"""The p-value of some accounts, by name, taken as one account."""


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """Accounts that act as one.

    Attributes:
        id: the same for the same members.
        accounts: those that can be named, in the order of their names.
        queries: theirs together.
        p_value: how often honest accounts alone would look like this in one night.
        reasons: what they have in common, the plainest first.
        risk: 0 to 1, of each member.
        rows: of the members in what was searched, (members,).
        ties: what they share beside what they ask, the heaviest first.
    """

    id: str
    accounts: tuple[str, ...]
    queries: int
    p_value: float
    reasons: tuple[str, ...]
    risk: float
    rows: Rows = field(repr=False, compare=False)
    ties: tuple[Tie, ...] = field(default=(), repr=False, compare=False)


def find(profiles: Points, counts: NDArray[np.int64], names: Sequence[str], reference_profiles: Points,
         reference_counts: NDArray[np.int64], *, key: Prf, level: float, fdr: float = FDR,
         links: Links | None = None, union: Union | None = None, words: Sequence[str] = ()) -> list[Campaign]:
    """The campaigns of one night, the surest first.

    Args:
        profiles: the accounts under suspicion as trackers' points, (accounts, dimensions); without dimensions
            there is nothing to find any by.
        counts: their queries, (accounts,); accounts with fewer than 5 are left out.
        names: theirs, (accounts,).
        reference_profiles: honest accounts that the trackers weren't fitted on, (honest, dimensions); best those
            of as many days.
        reference_counts: their queries, (honest,).
        key: halves the accounts, so that nobody outside knows which half an account is in.
        level: the p-value that makes an alarm; `spending` has those of nights that follow each other.
        fdr: of the accounts named, the share that may be honest.
        links: what accounts share beside what they ask.
        union: scores the accounts of a group as one.
        words: what each dimension's detector sees, for reasons, (dimensions,).
    """
    if not profiles.shape[1]:  # as by `tempo` or `volume` alone
        return []
    night = _Night(profiles, counts, names, key=key, links=links, union=union, words=words)
    honest = reference_profiles[reference_counts >= FEWEST_QUERIES]
    by_content = _by_content(night, honest, fdr, level)
    by_links = _by_links(night, honest, level)
    return [night.campaign(group, level) for group in _united([*by_content, *by_links], night)]


@dataclass(frozen=True)
class _Group:
    rows: Rows
    p_value: float
    reasons: tuple[str, ...]


class _Night:
    """The accounts of one search."""

    def __init__(self, profiles: Points, counts: NDArray[np.int64], names: Sequence[str], *, key: Prf,
                 links: Links | None, union: Union | None, words: Sequence[str]) -> None:
        self.profiles, self.counts, self.names = profiles, counts, names
        self.links, self.union, self.words = links, union, words
        self.key = key.subkey("watch campaigns")
        self.seed = self.key.number(b"seed") >> 1
        self.rows = np.flatnonzero(counts >= FEWEST_QUERIES)

    @property
    def searches_links(self) -> bool:
        """Whether linked groups take a part of the level."""
        return self.links is not None and self.union is not None

    def halves(self) -> NDArray[np.bool_]:
        """Which half each account is in, (accounts,); the same every night."""
        return self._parity([name.encode("utf-8", "surrogatepass") for name in self.names])

    def honest_halves(self, n: int) -> NDArray[np.bool_]:
        """Likewise of the reference, (n,)."""
        return self._parity([b"\0%d" % i for i in range(n)])

    def _parity(self, names: Sequence[bytes]) -> NDArray[np.bool_]:
        is_even: NDArray[np.bool_] = self.key.numbers(names) % np.uint64(2) == 0
        return is_even

    def campaign(self, group: _Group, level: float) -> Campaign:
        """A group as it is told."""
        accounts = tuple(sorted(self.names[i] for i in group.rows.tolist()))
        hashed = hashlib.blake2b("\0".join(accounts).encode("utf-8", "surrogatepass"), digest_size=6)
        return Campaign(id=f"c{hashed.hexdigest()}", accounts=accounts, queries=int(self.counts[group.rows].sum()),
                        p_value=group.p_value, reasons=group.reasons, risk=risk_of(group.p_value, level),
                        rows=group.rows,
                        ties=tuple(self.links.ties(group.rows)) if self.links is not None else ())

    def directions(self, groups: Sequence[_Group]) -> Points:
        """Where each group lies from the middle of all accounts, of length 1: (groups, dimensions)."""
        centre, units = middle(self.profiles[self.rows])
        units = np.maximum(units, _NARROWEST)
        means = np.stack([((self.profiles[group.rows] - centre) / units).mean(axis=0) for group in groups])
        lengths: Points = np.sqrt((means**2).sum(axis=1, keepdims=True))
        return means / np.maximum(lengths, 1e-12)

    def likeness(self, rows: Rows) -> list[str]:
        """What is unlike other accounts in what members ask, in detectors' words, the plainest first."""
        if not self.words or not len(rows):
            return []
        (direction,) = self.directions([_Group(rows, 1.0, ())])
        kinds = list(dict.fromkeys(self.words))
        shares = [float((direction[[word == kind for word in self.words]]**2).sum()) for kind in kinds]
        order = np.argsort(shares)[::-1][:_REASONS]
        return [f"their queries are unlike others' in one way: {kinds[i]} ({shares[i]:.0%} of the difference)"
                for i in order if shares[i] >= 0.1]


def _by_content(night: _Night, honest: Points, fdr: float, level: float) -> list[_Group]:
    """Campaigns by what accounts ask. A second search follows an alarm only, so that all share one level."""
    halves, honest_halves = night.halves(), night.honest_halves(len(honest))
    rows = night.rows
    groups: list[_Group] = []
    while len(groups) < _MOST_CAMPAIGNS:
        found = search(night.profiles[rows], halves[rows], honest, honest_halves,
                       fdr=fdr, seed=night.seed)
        if found is None or len(found.members) < FEWEST_MEMBERS:
            break
        group = _group(night, found, rows)
        if group.p_value > level:
            break
        groups.append(group)
        rows = np.delete(rows, found.like)
    return groups


def _group(night: _Night, found: Found, rows: Rows) -> _Group:
    members, p_value, reasons = rows[found.members], found.p_value, night.likeness(rows[found.members])
    if night.links is not None:
        reasons += night.links.reasons(members)
        disjoint = night.links.disjointness(members, night.seed)
        p_value = both(p_value, disjoint)
        if disjoint <= 0.01:
            reasons.append("they hardly ever ask the same, as if one pool were cut up for them")
    if night.searches_links:
        p_value /= _CONTENT_SHARE
    return _Group(members, min(p_value, 1.0), tuple(reasons))


def _by_links(night: _Night, honest: Points, level: float) -> list[_Group]:
    """Linked groups whose merged summary, and most of whose members, are unlike an honest account's.

    An office shares an address and a style, so taken as one it is unlike any single honest account; its members
    aren't. Groups come by the weight of their links, which what they ask has no part in: the first may spend half
    of what there is, the second a sixth, the k-th 1 / (k (k + 1)).
    """
    if night.links is None or night.union is None or len(honest) < FEWEST_ACCOUNTS:
        return []
    groups: list[_Group] = []
    lonely = _lonely(night, honest)
    for k, linked in enumerate(night.links.groups(night.seed), start=1):
        members = linked.rows[night.counts[linked.rows] > 0]
        p_value = night.union([night.names[i] for i in members.tolist()])
        p_value = max(p_value, _evidence.crowd(lonely[members])) * k * (k + 1) / (1.0 - _CONTENT_SHARE)
        if p_value <= level and len(members) >= FEWEST_MEMBERS:
            groups.append(_Group(members, p_value, (*linked.reasons, "taken as one account, they are unlike "
                                                    "honest ones", *night.likeness(members))))
    return groups


def _lonely(night: _Night, honest: Points) -> Points:
    """How many honest accounts are as far out as each account, 1 for those with few queries: (accounts,)."""
    space = Space.fit(honest)
    lonely = np.ones(len(night.names))
    sizes, honest_sizes = ((space.place(points)**2).sum(axis=1) for points in (night.profiles[night.rows], honest))
    lonely[night.rows] = _evidence.ranks(sizes, honest_sizes)
    return lonely


def _united(groups: Sequence[_Group], night: _Night) -> list[_Group]:
    """Groups that share accounts, or ask alike, as one; the surest first."""
    united: list[_Group] = []
    for group in sorted(groups, key=lambda group: (group.p_value, -len(group.rows), group.rows.tolist())):
        for i, other in enumerate(united):
            ones, others = night.directions([group, other])
            if len(np.intersect1d(group.rows, other.rows)) or float(ones @ others) >= _SAME:
                united[i] = _Group(np.union1d(other.rows, group.rows), other.p_value,
                                   tuple(dict.fromkeys([*other.reasons, *group.reasons])))
                break
        else:
            united.append(group)
    return united


def both(p_value: float, other: float) -> float:
    """The p-value of two pieces of independent evidence (Fisher 1932)."""
    product = p_value * other
    return product * (1.0 - math.log(product)) if product > 0.0 else 0.0

"""Honest traffic, gathered for a reference: named as such, or a source's own past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from counterclone.exchanges import Exchanges, join
from counterclone.randomness import Prf
from counterclone.watch.accounts import AccountTable
from counterclone.watch.sources import Source, Traffic, known_links

ROWS_MAX = 1_000_000
"""Exchanges that are kept, of accounts drawn by a keyed hash: about 350 MB."""
_PAST = 0.5
"""Accounts that came in the first half of the time are its past; what came later is compared with them."""


@dataclass(frozen=True)
class Honest:
    """Exchanges of accounts that are taken for honest.

    Attributes:
        names: of the accounts, by number.
        kinds: their classes, "" for ordinary ones.
        exchanges: theirs, in the order of time, with gaps.
        meta: what else is known of accounts, by name.
        is_sample: whether there was no room for all of them.
    """

    names: list[str]
    kinds: list[str]
    exchanges: Exchanges
    meta: Mapping[str, Mapping[str, str]]
    is_sample: bool = False

    def __len__(self) -> int:
        """How many accounts."""
        return len(self.names)

    def before(self, time: float) -> Honest:
        """The accounts that came before a time, with all they asked."""
        first = np.full(len(self), np.inf)
        np.minimum.at(first, self.exchanges.accounts, self.exchanges.times)
        kept = np.flatnonzero(first < time)
        return Honest([self.names[i] for i in kept.tolist()], [self.kinds[i] for i in kept.tolist()],
                      self.exchanges.of(kept), self.meta, self.is_sample)


def gather(source: Source, key: Prf, max_rows: int = ROWS_MAX) -> Honest | None:
    """The accounts of a source, or so many that their exchanges have room; None where there is nothing.

    Args:
        source: a journal or a file.
        key: draws the accounts; whoever doesn't know it can't tell which are kept.
        max_rows: exchanges that are kept at most, unless one account has more.

    Raises:
        SourceError: it can't be read.
    """
    gathering = _Gathering(key.subkey("watch reference sample"), max_rows)
    for part in source.traffic():
        gathering.add(part)
    return gathering.honest()


def past(honest: Honest) -> Honest:
    """The accounts that came in the first half of the time."""
    times = honest.exchanges.times
    return honest.before(float(times.min() + _PAST * np.ptp(times)))


class _Gathering:
    """Accounts whose hash is below a bar, which sinks as they become too many."""

    def __init__(self, key: Prf, max_rows: int) -> None:
        self._key = key
        self._max_rows = max_rows
        self._bar = 2**64
        self._n_kept = 0
        self._numbers: dict[str, int] = {}
        self._kinds: dict[str, str] = {}
        self._meta: dict[str, dict[str, str]] = {}
        self._parts: list[Exchanges] = []
        self._n_rows = 0

    def add(self, traffic: Traffic) -> None:
        """Keep those of the exchanges that there is room for."""
        numbers = np.array([self._number(name) for name in traffic.names], dtype=np.intp)
        for name, kind, meta in zip(traffic.names, traffic.kinds, traffic.meta, strict=True):
            if name in self._numbers:
                if kind:
                    self._kinds[name] = kind
                if links := known_links(meta):
                    self._meta[name] = links
        kept = np.flatnonzero(numbers[traffic.exchanges.accounts] >= 0)
        part = traffic.exchanges.select(kept)
        self._parts.append(part.numbered(numbers[part.accounts]))
        self._n_rows += len(kept)
        while self._n_rows > self._max_rows and len(self._numbers) > 1:
            self._sink()

    def honest(self) -> Honest | None:
        """What was kept."""
        if not self._n_rows:
            return None
        names = list(self._numbers)
        renumbered = np.full(self._n_kept, -1, dtype=np.intp)
        renumbered[list(self._numbers.values())] = np.arange(len(names))
        whole = join(self._parts)
        table = AccountTable([], len(names))
        rows = table.admit(names)
        exchanges = table.with_gaps(whole.numbered(rows[renumbered[whole.accounts]]))
        numbers = np.empty(len(names), dtype=np.intp)
        numbers[rows] = np.arange(len(names))
        return Honest(names, [self._kinds.get(name, "") for name in names],
                      replace(exchanges, accounts=numbers[exchanges.accounts]), self._meta,
                      self._bar < 2**64)

    def _number(self, name: str) -> int:
        """The number of an account, -1 for one that isn't kept."""
        number = self._numbers.get(name)
        if number is None:
            if self._hash(name) >= self._bar:
                return -1
            number = self._numbers[name] = self._n_kept
            self._n_kept += 1
        return number

    def _hash(self, name: str) -> int:
        return self._key.number(name.encode("utf-8", "surrogatepass"))

    def _sink(self) -> None:
        self._bar //= 2
        self._numbers = {name: number for name, number in self._numbers.items() if self._hash(name) < self._bar}
        kept = np.zeros(self._n_kept, dtype=np.bool_)
        kept[list(self._numbers.values())] = True
        self._parts = [part.select(np.flatnonzero(kept[part.accounts])) for part in self._parts]
        self._n_rows = sum(map(len, self._parts))

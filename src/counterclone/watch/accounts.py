"""What is remembered of each account, a row of every array for each; bounded, and it says what it forgot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.protocols import States, Tracker
from counterclone.watch.calibration import CHECKPOINTS

Rows = NDArray[np.intp]
Arrays = dict[str, NDArray[np.generic]]

_FIRST_ROWS = 256
_FORGOTTEN_AT_ONCE = 16  # a sixteenth of a full table goes together, so that looking for the oldest is cheap
_BITS = 2**16  # bits are summed in parts of a 65,536th, so that sums have no order
NEVER = -np.inf


@dataclass
class Columns:
    """The arrays of a table; the first dimension is the row.

    Attributes:
        counts: exchanges, (rows,).
        bits: that the answers released, in parts of a 65,536th, (rows,).
        first_times: seconds since 1970, (rows,).
        last_times: likewise, (rows,).
        arrivals: the time of the exchange that came last, which a clock that jumps back may put earlier, (rows,).
        kinds: numbers of the accounts' kinds, (rows,).
        stamps: when it was last fed, in feeds, (rows,).
        maxima: the largest value so far by detector, (rows, detectors).
        latest: the last value by detector, (rows, detectors).
        scored: when it was last scored, in scorings, 0 for never, (rows,).
        course: the p-value as the account grew, by checkpoint; from the last one reached on it stays, (rows,
            checkpoints).
        is_alarmed: whether it has raised its alarm, (rows,).
    """

    counts: NDArray[np.int64]
    bits: NDArray[np.int64]
    first_times: NDArray[np.float64]
    last_times: NDArray[np.float64]
    arrivals: NDArray[np.float64]
    kinds: NDArray[np.int16]
    stamps: NDArray[np.int64]
    maxima: NDArray[np.float64]
    latest: NDArray[np.float64]
    scored: NDArray[np.int64]
    course: NDArray[np.float64]
    is_alarmed: NDArray[np.bool_]

    @classmethod
    def empty(cls, n: int, n_detectors: int) -> Columns:
        """Of accounts that did nothing."""
        return cls(counts=np.zeros(n, dtype=np.int64), bits=np.zeros(n, dtype=np.int64),
                   first_times=np.full(n, np.inf), last_times=np.full(n, NEVER), arrivals=np.full(n, np.nan),
                   kinds=np.zeros(n, dtype=np.int16), stamps=np.zeros(n, dtype=np.int64),
                   maxima=np.full((n, n_detectors), NEVER), latest=np.full((n, n_detectors), NEVER),
                   scored=np.zeros(n, dtype=np.int64), course=np.ones((n, len(CHECKPOINTS))),
                   is_alarmed=np.zeros(n, dtype=np.bool_))


class AccountTable:
    """Accounts by name; their summaries are rows of one matrix for each tracker.

    A full table forgets accounts that were quiet longest, those with an alarm last.

    Args:
        trackers: what is kept of each account.
        max_accounts: rows at most.

    Attributes:
        columns: what else is kept of them.
        states: by tracker, (rows, width).
        n_seen: accounts that ever came; one that was forgotten and comes back counts again.
        n_forgotten: accounts that went for want of room.
        n_expired: accounts that went because they were quiet too long.
        n_jumps: exchanges earlier than the one before of their account.
    """

    def __init__(self, trackers: Sequence[Tracker], max_accounts: int) -> None:
        if max_accounts < 1:
            raise WatchError(f"room for {max_accounts} accounts is none; expected 1 or more")
        self._trackers = trackers
        self.max_accounts = max_accounts
        self._rows: dict[str, int] = {}
        self._names: list[str | None] = []
        self._free: list[int] = []
        self._kinds: dict[str, int] = {"": 0}
        size = min(_FIRST_ROWS, max_accounts)
        self.columns = Columns.empty(size, len(trackers))
        self.states: list[States] = [tracker.empty(size) for tracker in trackers]
        self._feed = 0
        self.n_seen = self.n_forgotten = self.n_expired = self.n_jumps = 0

    def __len__(self) -> int:
        """Accounts that are remembered."""
        return len(self._rows)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def row(self, name: str) -> int | None:
        """The row of an account, None for one that isn't remembered."""
        return self._rows.get(name)

    @property
    def places(self) -> dict[str, int]:
        """The rows of the accounts that are remembered, at one moment also while another thread feeds."""
        return self._rows.copy()

    @property
    def names(self) -> list[str]:
        """Accounts that are remembered, in the order of `rows`."""
        return list(self._rows)

    @property
    def rows(self) -> Rows:
        """Their rows."""
        return np.fromiter(self._rows.values(), np.intp, len(self._rows))

    def name(self, row: int) -> str:
        """Whose row it is."""
        name = self._names[row]
        if name is None:
            raise KeyError(row)
        return name

    @property
    def problems(self) -> list[str]:
        """What it forgot, and whose clocks jump back, in words."""
        problems = []
        if self.n_forgotten:
            problems.append(f"{self.n_forgotten:,} of {self.n_seen:,} accounts were forgotten, those that were "
                            f"quiet longest first: there is room for {self.max_accounts:,}")
        if self.n_jumps:
            problems.append(f"{self.n_jumps:,} exchanges are earlier than the one before of their account: "
                            "their gap counts as 0")
        return problems

    @property
    def kinds(self) -> list[str]:
        """Names of the accounts' kinds, by number."""
        return list(self._kinds)

    def admit(self, names: Sequence[str], kinds: Sequence[str] | None = None) -> Rows:
        """The rows of some accounts, at most as many as there is room for; new ones get one: (names,).

        Args:
            names: different ones.
            kinds: what kind of account each is; without, an ordinary one.
        """
        if len(names) > self.max_accounts:
            raise WatchError(f"{len(names)} accounts at once don't fit a table for {self.max_accounts}")
        self._feed += 1
        numbers = [self._rows.get(name, -1) for name in names]
        rows = np.array(numbers, dtype=np.intp)
        self.columns.stamps[rows[rows >= 0]] = self._feed  # none of these is to go for the new ones
        new = np.flatnonzero(rows < 0)
        if len(new):
            rows[new] = self._arrive([names[i] for i in new.tolist()])
            self.columns.stamps[rows[new]] = self._feed
        if kinds is not None:
            self.columns.kinds[rows] = [self._kinds.setdefault(kind, len(self._kinds)) for kind in kinds]
        return rows

    def with_gaps(self, exchanges: Exchanges) -> Exchanges:
        """The exchanges of some rows with the gaps that nobody counted yet, as this table's accounts had them.

        Args:
            exchanges: in the order in which they came; `accounts` are rows of this table.
        """
        order = np.argsort(exchanges.accounts, kind="stable")
        rows, times = exchanges.accounts[order], exchanges.times[order]
        before = np.empty(len(order))
        before[1:] = times[:-1]
        is_first = np.diff(rows, prepend=-1) != 0
        before[is_first] = self.columns.arrivals[rows[is_first]]
        self.columns.arrivals[rows] = times  # the last one written is the account's last
        gaps = exchanges.gaps.copy()
        counted = times - before
        self.n_jumps += int((counted < 0.0).sum())
        gaps[order] = np.where(np.isnan(gaps[order]), np.maximum(counted, 0.0), gaps[order])  # NaN for a first one
        return replace(exchanges, gaps=gaps)

    def count(self, exchanges: Exchanges) -> None:
        """Add up what is no tracker's; `accounts` are rows of this table."""
        rows, columns = exchanges.accounts, self.columns
        np.add.at(columns.counts, rows, 1)
        known = np.nan_to_num(exchanges.bits.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        np.add.at(columns.bits, rows, np.rint(np.clip(known, 0.0, 2**30) * _BITS).astype(np.int64))
        np.minimum.at(columns.first_times, rows, exchanges.times)
        np.maximum.at(columns.last_times, rows, exchanges.times)

    def leaked_bits(self, rows: Rows) -> NDArray[np.float64]:
        """Upper bound on the bits that the answers released, (n,)."""
        return self.columns.bits[rows] / _BITS

    def expire(self, before: float) -> None:
        """Forget the accounts whose last exchange is older."""
        rows = self.rows
        quiet = rows[self.columns.last_times[rows] < before]
        self._forget(quiet)
        self.n_expired += len(quiet)

    def absorb(self, other: AccountTable) -> Rows:
        """Add another table's accounts to this one; the rows here of those that were in both.

        Summaries and sums are as if one table had counted everything. Of an account in both the largest values
        are the larger of the two: each saw a part of its life only.
        """
        both: list[Rows] = []
        names, rows = other.names, other.rows
        for start in range(0, len(names), self.max_accounts):
            part = slice(start, start + self.max_accounts)
            both.append(self._absorb(other, names[part], rows[part]))
        self.n_seen += other.n_seen - len(names)  # those that are new here were counted as they were admitted
        self.n_forgotten += other.n_forgotten
        self.n_expired += other.n_expired
        self.n_jumps += other.n_jumps
        return np.concatenate(both) if both else np.empty(0, dtype=np.intp)

    def arrays(self) -> Arrays:
        """Everything, to be restored from."""
        rows = self.rows
        encoded = [name.encode("utf-8", "surrogatepass") for name in self.names]
        kinds = [kind.encode("utf-8", "surrogatepass") for kind in self.kinds]
        counters = [self._feed, self.n_seen, self.n_forgotten, self.n_expired, self.n_jumps]
        return {
            "names": np.frombuffer(b"".join(encoded), dtype=np.uint8),
            "name_sizes": np.array([len(name) for name in encoded], dtype=np.int64),
            "kind_names": np.frombuffer(b"".join(kinds), dtype=np.uint8),
            "kind_sizes": np.array([len(kind) for kind in kinds], dtype=np.int64),
            "counters": np.array(counters, dtype=np.int64),
            **{f"column_{name}": array[rows] for name, array in vars(self.columns).items()},
            **{f"states_{i}": states[rows] for i, states in enumerate(self.states)},
        }

    @classmethod
    def restored(cls, trackers: Sequence[Tracker], max_accounts: int, arrays: Mapping[str, NDArray[np.generic]],
                 ) -> AccountTable:
        """A table as `arrays` had it.

        Raises:
            WatchError: they don't fit these trackers, or there are more accounts than room.
        """
        table = cls(trackers, max_accounts)
        names = _split(arrays["names"], arrays["name_sizes"])
        table._kinds = {kind: i for i, kind in enumerate(_split(arrays["kind_names"], arrays["kind_sizes"]))}
        rows = table.admit(names)
        for name, array in vars(table.columns).items():
            _put(array, rows, arrays[f"column_{name}"])
        for i, states in enumerate(table.states):
            _put(states, rows, arrays[f"states_{i}"])
        table._feed, table.n_seen, table.n_forgotten, table.n_expired, table.n_jumps = map(int, arrays["counters"])
        return table

    def _absorb(self, other: AccountTable, names: Sequence[str], there: Rows) -> Rows:
        is_old = np.array([name in self._rows for name in names], dtype=np.bool_)
        kinds = other.kinds
        here = self.admit(names, [kinds[number] for number in other.columns.kinds[there].tolist()])
        mine, theirs = self.columns, other.columns
        mine.counts[here] += theirs.counts[there]
        mine.bits[here] += theirs.bits[there]
        mine.first_times[here] = np.minimum(mine.first_times[here], theirs.first_times[there])
        mine.last_times[here] = np.maximum(mine.last_times[here], theirs.last_times[there])
        mine.arrivals[here] = np.fmax(mine.arrivals[here], theirs.arrivals[there])
        for name in ("maxima", "latest", "scored", "is_alarmed"):
            column = getattr(mine, name)
            column[here] = np.maximum(column[here], getattr(theirs, name)[there])
        mine.course[here] = np.minimum(mine.course[here], theirs.course[there])
        for tracker, own, others in zip(self._trackers, self.states, other.states, strict=True):
            own[here] = tracker.merge(own[here], others[there])
        return here[is_old]

    def _arrive(self, names: Sequence[str]) -> Rows:
        lacking = len(self._rows) + len(names) - self.max_accounts
        if lacking > 0:
            self._make_room(lacking)
        while len(self._free) + len(self.columns.counts) - len(self._names) < len(names):
            self._grow()
        rows = []
        for name in names:
            if self._free:
                row = self._free.pop()
                self._names[row] = name
            else:
                row = len(self._names)
                self._names.append(name)
            self._rows[name] = row
            rows.append(row)
        self.n_seen += len(names)
        return np.array(rows, dtype=np.intp)

    def _make_room(self, n: int) -> None:
        rows = self.rows
        movable = rows[self.columns.stamps[rows] < self._feed]
        n = min(max(n, self.max_accounts // _FORGOTTEN_AT_ONCE), len(movable))
        order = np.lexsort((self.columns.stamps[movable], self.columns.is_alarmed[movable]))
        self._forget(movable[order[:n]])
        self.n_forgotten += n

    def _forget(self, rows: Rows) -> None:
        for row in rows.tolist():
            del self._rows[self.name(row)]
            self._names[row] = None
            self._free.append(row)
        fresh = Columns.empty(len(rows), len(self._trackers))
        for name, array in vars(self.columns).items():
            array[rows] = getattr(fresh, name)
        for tracker, states in zip(self._trackers, self.states, strict=True):
            states[rows] = tracker.empty(len(rows))

    def _grow(self) -> None:
        size = min(2 * len(self.columns.counts), self.max_accounts)
        more = size - len(self.columns.counts)
        fresh = Columns.empty(more, len(self._trackers))
        self.columns = Columns(**{name: np.concatenate([array, getattr(fresh, name)])
                                  for name, array in vars(self.columns).items()})
        for i, tracker in enumerate(self._trackers):
            self.states[i] = np.concatenate([self.states[i], tracker.empty(more)])


def _split(data: NDArray[np.generic], sizes: NDArray[np.generic]) -> list[str]:
    text, ends = data.tobytes(), np.cumsum(sizes).tolist()
    return [text[end - size:end].decode("utf-8", "surrogatepass")
            for end, size in zip(ends, sizes.tolist(), strict=True)]


def _put(array: NDArray[np.generic], rows: Rows, values: NDArray[np.generic]) -> None:
    if values.shape[1:] != array.shape[1:] or values.dtype != array.dtype:
        raise WatchError(f"a saved watch has columns of {values.shape[1:]} {values.dtype} where this one has "
                         f"{array.shape[1:]} {array.dtype}; count the journal again")
    array[rows] = values

"""Whom the watch suspects: every account's summary against the honest ones, as traffic comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.protocols import States
from counterclone.watch.accounts import AccountTable, Rows
from counterclone.watch.calibration import CHECKPOINTS, Scores
from counterclone.watch.cuts import cut
from counterclone.watch.drift import NewLabels, has_everybody_moved
from counterclone.watch.levels import SECONDS_PER_DAY, account_level, risk_of
from counterclone.watch.problems import of_drift, of_level, of_past, of_table
from counterclone.watch.reference import Reference, points_reached
from counterclone.watch.span import Span

MAX_ACCOUNTS = 100_000
TTL_DAYS = 90.0
_ROWS_AT_ONCE = 8192
_SUSPICIOUS_RISK = 0.5
"""From here on an account's reasons are told, and a glance goes to whether everybody moved."""
_SUSPICIOUS_P_VALUE = 0.1
"""By a single detector, of an account whose risk is told."""


@dataclass(frozen=True, kw_only=True)
class AccountStanding:
    """What the watch thinks of an account.

    Attributes:
        queries: rows that it asked.
        risk: 0 to 1, where it raises an alarm.
        alarm_at_query: the number of queries at which its p-value passed the level, None where it didn't.
        p_value: how often an honest account goes as far in its whole life; None where it has too few queries.
        leaked_bits: upper bound on the bits that it got.
        reasons: what is unlike honest accounts, the plainest first.
        first_time: of its first exchange, seconds since 1970.
        last_time: of its last.
    """

    queries: int
    risk: float
    alarm_at_query: int | None
    p_value: float | None
    leaked_bits: float
    reasons: tuple[str, ...]
    first_time: float
    last_time: float


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """An account passed the level.

    Attributes:
        account: its name.
        time: of the last exchange before it, seconds since 1970.
        standing: what the watch thinks of it.
    """

    account: str
    time: float
    standing: AccountStanding


@dataclass(frozen=True)
class Snapshot:
    """Summaries of accounts, for whatever compares them with each other.

    Attributes:
        names: theirs, (accounts,).
        counts: exchanges, (accounts,).
        states: their summaries by detector, (accounts, width) each.
    """

    names: list[str]
    counts: NDArray[np.int64]
    states: list[States]


class _Due(NamedTuple):
    """Accounts to be scored: their rows, the checkpoints that they reached, their summaries then."""

    rows: Rows
    points: NDArray[np.intp]
    states: list[States]


class Monitor:
    """Feeds trackers, compares accounts with the reference, raises alarms.

    One thread feeds; any may ask for a risk.

    Args:
        reference: honest accounts.
        false_alarms_per_year: of the whole fleet, half of them for accounts.
        max_accounts: that are remembered; of more, those that were quiet longest are forgotten.
        ttl_days: after which a quiet account is forgotten.

    Attributes:
        reference: honest accounts.
        table: what is remembered of each account.
        level: the p-value at which an account raises an alarm, 0 before the first exchange.
        n_held: scorings that didn't count, since most accounts had moved.
    """

    def __init__(self, reference: Reference, *, false_alarms_per_year: float, max_accounts: int = MAX_ACCOUNTS,
                 ttl_days: float = TTL_DAYS) -> None:
        self.reference = reference
        self.table = AccountTable(reference.trackers, max_accounts)
        self.level = 0.0
        self.n_held = 0
        self._rate = false_alarms_per_year
        self._ttl_seconds = ttl_days * SECONDS_PER_DAY
        self._span = Span()
        self._scorings = 0
        self._of_content = [i for i, gauge in enumerate(reference.gauges) if gauge.is_of_content]
        self._has_moved = False
        self._new_labels = NewLabels(reference.labels)
        self._alarms: list[Alarm] = []

    def feed(self, names: Sequence[str], exchanges: Exchanges, kinds: Sequence[str] | None = None) -> None:
        """Learn more exchanges, and score the accounts that reach a checkpoint on the way.

        Args:
            names: of the accounts, by the numbers in `exchanges.accounts`.
            exchanges: in the order in which they came.
            kinds: of the accounts, by number, as the reference knows them; without, ordinary ones.
        """
        size = min(_ROWS_AT_ONCE, self.table.max_accounts)
        for start in range(0, len(exchanges), size):
            self._feed(names, exchanges.select(slice(start, start + size)), kinds)

    def risk(self, account: str) -> float:
        """The risk that an account copies the model, 0 for one that isn't known."""
        row = self.table.row(account)
        return 0.0 if row is None else risk_of(float(self.table.columns.course[row, -1]), self.level)


    @property
    def problems(self) -> list[str]:
        """What keeps it from raising alarms, and what it forgot, in words."""
        return [*self.reference.problems, *of_past(self.reference),
                *of_level(self.reference, self.level, self._rate), *of_drift(self.n_held, self._new_labels),
                *of_table(self.table)]

    def take_alarms(self) -> list[Alarm]:
        """Alarms since the last call; an account raises one."""
        alarms, self._alarms = self._alarms, []
        return alarms

    def standing(self, account: str) -> AccountStanding | None:
        """What it thinks of an account, None for one that isn't remembered."""
        row = self.table.row(account)
        return None if row is None else self._standing(row, self.level)

    @property
    def accounts(self) -> dict[str, AccountStanding]:
        """What it thinks of all accounts, the busiest first."""
        table, level = self.table, self.level
        names, rows = table.names, table.rows
        counts = table.columns.counts[rows].tolist()
        order = sorted(range(len(names)), key=lambda i: (-counts[i], names[i]))
        return {names[i]: self._standing(int(rows[i]), level) for i in order}

    def snapshot(self, min_queries: int = 5) -> Snapshot:
        """The summaries of accounts with enough queries."""
        rows = self.table.rows
        is_enough = self.table.columns.counts[rows] >= min_queries
        names = [name for name, keep in zip(self.table.names, is_enough.tolist(), strict=True) if keep]
        rows = rows[is_enough]
        return Snapshot(names, self.table.columns.counts[rows], [states[rows] for states in self.table.states])

    def p_value_of_union(self, accounts: Sequence[str]) -> float:
        """The p-value of some accounts taken as one; those that aren't remembered don't count."""
        rows = np.array([row for row in map(self.table.row, accounts) if row is not None], dtype=np.intp)
        if not len(rows):
            return 1.0
        merged = []
        for gauge, states in zip(self.reference.gauges, self.table.states, strict=True):
            parts = states[rows]
            while len(parts) > 1:
                odd = parts[len(parts) // 2 * 2:]
                parts = np.concatenate([gauge.tracker.merge(parts[0:len(parts) - len(odd):2], parts[1::2]), odd])
            merged.append(parts)
        return self.reference.p_value_of_union(merged, int(self.table.columns.counts[rows].sum()))

    def merge(self, other: Monitor) -> None:
        """Take over what another monitor of the same reference counted.

        Summaries are then as if one had counted everything, to the bit. An account that both knew keeps the
        larger of its two largest values and is scored again.

        Raises:
            WatchError: the other has another reference.
        """
        if other.reference.digest != self.reference.digest:
            raise WatchError("two watches with different references can't be merged; start both from the same "
                             "honest exchanges, detectors and secret")
        both = self.table.absorb(other.table)
        self._span.absorb(other._span)
        self._set_level()
        self._scorings = max(self._scorings, other._scorings)
        self.n_held += other.n_held
        self._new_labels.n_labels += other._new_labels.n_labels
        self._new_labels.n_new += other._new_labels.n_new
        enough = both[self.table.columns.counts[both] >= CHECKPOINTS[0]]
        if self.reference.gauges:
            self._score([self._due(enough, points_reached(self.table.columns.counts[enough]))])
        self._alarms += other._alarms

    def save(self, path: Path) -> None:
        """Write everything that it counted to a file, whose name should end in `.npz`."""
        numbers = [self.n_held, self._scorings, self._new_labels.n_labels, self._new_labels.n_new]
        arrays = {**self.table.arrays(), "numbers": np.array(numbers, dtype=np.float64),
                  "days": self._span.array(), "digest": np.array(self.reference.digest)}
        temporary = path.with_name(f".{path.name}.tmp")
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a saved file.

        Raises:
            WatchError: it was saved with another reference, or can't be read.
        """
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if str(arrays["digest"]) != self.reference.digest:
                raise WatchError(f"{path} was counted with another reference; remove it, count the journal again")
            table = AccountTable.restored(self.reference.trackers, self.table.max_accounts, arrays)
            held, scorings, self._new_labels.n_labels, self._new_labels.n_new = arrays["numbers"].tolist()
            self._span = Span.restored(arrays["days"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise WatchError(f"{path} can't be read ({error}); remove it, and count the journal again") from error
        self.table, self.n_held, self._scorings = table, int(held), int(scorings)
        self._set_level()

    def _feed(self, names: Sequence[str], exchanges: Exchanges, kinds: Sequence[str] | None) -> None:
        used, places = np.unique(exchanges.accounts, return_inverse=True)
        self._keep_time(exchanges)
        rows = self.table.admit([names[i] for i in used.tolist()],
                                None if kinds is None else [kinds[i] for i in used.tolist()])
        self._set_level()
        exchanges = self.table.with_gaps(exchanges.numbered(rows[places]))
        before = self.table.columns.counts[rows]
        self.table.count(exchanges)
        self._new_labels.add(exchanges.labels)
        due = np.searchsorted(CHECKPOINTS, before, side="right")
        is_due = self.table.columns.counts[rows] >= CHECKPOINTS[np.minimum(due, len(CHECKPOINTS) - 1)]
        self._learn(exchanges.select(np.flatnonzero(~is_due[places])))
        self._learn_and_score(exchanges.select(np.flatnonzero(is_due[places])))
        self._raise_alarms(rows)

    def _learn(self, exchanges: Exchanges) -> None:
        """Learn exchanges of accounts that reach no checkpoint by them."""
        if len(exchanges):
            for gauge, states in zip(self.reference.gauges, self.table.states, strict=True):
                gauge.tracker.learn(states, exchanges)

    def _learn_and_score(self, exchanges: Exchanges) -> None:
        """Learn exchanges of accounts that reach checkpoints by them, and score the accounts as they were there.

        What each account asked up to a checkpoint is a summary of its own, so that all is learnt in one call and
        scored in another, however many checkpoints an account passes.
        """
        if not len(exchanges) or not self.reference.gauges:
            return
        cuts = cut(exchanges, self.table.columns.counts)
        parts = [gauge.tracker.empty(len(cuts.rows)) for gauge in self.reference.gauges]
        for gauge, part in zip(self.reference.gauges, parts, strict=True):
            gauge.tracker.learn(part, exchanges.numbered(cuts.numbers))
        due = []
        for number in range(int(cuts.rounds.max()) + 1):
            chosen = np.flatnonzero(cuts.rounds == number)
            rows = cuts.rows[chosen]
            for gauge, states, part in zip(self.reference.gauges, self.table.states, parts, strict=True):
                states[rows] = gauge.tracker.merge(states[rows], part[chosen])
            is_there = cuts.is_whole[chosen]
            due.append(self._due(rows[is_there], cuts.points[chosen][is_there]))
        self._score(due)

    def _due(self, rows: Rows, points: NDArray[np.intp]) -> _Due:
        return _Due(rows, points, [states[rows] for states in self.table.states])

    def _set_level(self) -> None:
        self.level = account_level(self._rate, self._span.days, self.table.n_seen)

    def _keep_time(self, exchanges: Exchanges) -> None:
        known = len(self._span)
        self._span.add(exchanges.times)
        if len(self._span) > known:
            self.table.expire(self._span.last - self._ttl_seconds)

    def _score(self, due: Sequence[_Due]) -> None:
        """Let accounts' scores at checkpoints count, unless everybody has moved; first comes first."""
        columns = self.table.columns
        rows, points = (np.concatenate([each[part] for each in due]) for part in (0, 1))
        if not len(rows):
            return
        values = self.reference.values([np.concatenate(parts) for parts in zip(*(each.states for each in due),
                                                                               strict=True)], points)
        values = np.where(np.isnan(values), -np.inf, values)
        columns.latest[rows], columns.scored[rows] = values, self._scorings + np.arange(1, len(rows) + 1)
        self._scorings += len(rows)
        before, maxima = columns.maxima[rows], np.empty_like(values)
        ends = np.cumsum([len(each.rows) for each in due])
        turns = [slice(end - len(each.rows), end) for each, end in zip(due, ends.tolist(), strict=True)]
        for turn in turns:  # an account is in several, but once in each
            maxima[turn] = columns.maxima[rows[turn]] = np.maximum(columns.maxima[rows[turn]], values[turn])
        p_values = self._p_values(rows, maxima)
        if self._has_moved or risk_of(float(p_values.min()), self.level) >= _SUSPICIOUS_RISK:
            self._has_moved = has_everybody_moved(columns, self._of_content, len(self.table), self._scorings)
        if self._has_moved:
            columns.maxima[rows[::-1]] = before[::-1]
            self.n_held += len(rows)
            return
        for turn in turns:
            is_later = np.arange(len(CHECKPOINTS)) >= points[turn, np.newaxis]
            course = columns.course[rows[turn]]
            columns.course[rows[turn]] = np.where(is_later, np.minimum(course, p_values[turn, np.newaxis]), course)

    def _p_values(self, rows: Rows, maxima: Scores) -> Scores:
        """The accounts' p-values: (rows,)."""
        kinds = self.table.columns.kinds[rows]
        p_values = np.ones(len(rows))
        for number in np.unique(kinds).tolist():
            own = kinds == number
            p_values[own] = self.reference.account_p_values(maxima[own], self.table.kinds[number])
        return p_values

    def _raise_alarms(self, rows: Rows) -> None:
        level, columns = self.level, self.table.columns
        passing = rows[(columns.course[rows, -1] <= level) & ~columns.is_alarmed[rows]]
        columns.is_alarmed[passing] = True
        self._alarms += [Alarm(account=self.table.name(row), time=float(columns.last_times[row]),
                               standing=self._standing(row, level)) for row in passing.tolist()]

    def _standing(self, row: int, level: float) -> AccountStanding:
        columns = self.table.columns
        course = columns.course[row]
        p_value = float(course[-1])
        passed = np.flatnonzero(course <= level)
        risk = risk_of(p_value, level)
        return AccountStanding(
            queries=int(columns.counts[row]), risk=risk,
            alarm_at_query=int(CHECKPOINTS[passed[0]]) if len(passed) else None,
            p_value=p_value if np.isfinite(columns.maxima[row]).any() else None,
            leaked_bits=float(self.table.leaked_bits(np.array([row]))[0]),
            reasons=self._reasons(row) if risk >= _SUSPICIOUS_RISK else (),
            first_time=float(columns.first_times[row]), last_time=float(columns.last_times[row]))

    def _reasons(self, row: int) -> tuple[str, ...]:
        """The detectors by which an account is further out than most, the plainest first."""
        kind = self.table.kinds[int(self.table.columns.kinds[row])]
        p_values = self.reference.p_values(self.table.columns.maxima[[row]], kind)[0]
        told = []
        for i in np.argsort(p_values, kind="stable").tolist():
            gauge = self.reference.gauges[i]
            n = len(gauge.ranks[self.reference.ranked_as(kind)])
            if p_values[i] <= _SUSPICIOUS_P_VALUE:
                beyond = round(p_values[i] * (n + 1)) - 1
                told.append(f"its queries {gauge.words} ({gauge.kind}: {beyond} of {n} honest accounts go as far)")
        return tuple(told)

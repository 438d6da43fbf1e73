"""What the console shows, as plain facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from counterclone.report.page import Figure, Table


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of one page or of one row."""


class AccountRow(Sheet, frozen=True):
    """An account in a list.

    Attributes:
        name: its own.
        queries: rows that it asked.
        risk: 0 to 1.
        alarm_at_query: the number of queries at which it raised an alarm, None where it didn't.
        is_member: whether it is one of a campaign.
        leaked_bits: upper bound on the bits that it got.
        reason: what is unlike honest accounts most plainly, "" for nothing.
        course: its p-value as it grew, by the number of queries.
        decision: its owner's, None before the first.
        last_time: of its last exchange, seconds since 1970.
    """

    name: str
    queries: int
    risk: float
    alarm_at_query: int | None
    is_member: bool
    leaked_bits: float
    reason: str
    course: Sequence[tuple[int, float]]
    decision: str | None
    last_time: float


class AccountsPage(Sheet, frozen=True):
    """Some of the accounts.

    Attributes:
        rows: those of the page.
        n_found: accounts on all pages.
        n_known: accounts that are remembered, None where nothing is watched.
        page: 1 for the first.
        n_pages: at least 1.
        level: the p-value at which an account raises an alarm.
        problems: what keeps alarms from being raised, in words.
    """

    rows: Sequence[AccountRow]
    n_found: int
    n_known: int | None
    page: int
    n_pages: int
    level: float
    problems: Sequence[str]


class Tie(Sheet, frozen=True):
    """Something that accounts share.

    Attributes:
        kind: what it is, in words.
        accounts: those who have it.
        weight: of evidence for each, in nats.
    """

    kind: str
    accounts: Sequence[str]
    weight: float


class CaseRow(Sheet, frozen=True):
    """A case in a list.

    Attributes:
        id: its own.
        opened: seconds since 1970.
        kinds: of its evidence, the first first.
        accounts: one, or those of a campaign.
        queries: that they asked by then.
        risk: the largest of its evidence, None where nothing tells it.
        p_value: the smallest, likewise.
        reasons: in words.
        decision: the last one, None before the first.
        is_held: whether the journal keeps their exchanges.
    """

    id: str
    opened: float
    kinds: Sequence[str]
    accounts: Sequence[str]
    queries: int
    risk: float | None
    p_value: float | None
    reasons: Sequence[str]
    decision: str | None
    is_held: bool

    @property
    def is_campaign(self) -> bool:
        """Whether its accounts act as one."""
        return "campaign" in self.kinds


class CaseSheet(Sheet, frozen=True):
    """A case.

    Attributes:
        row: as in a list.
        table: all that is known of it.
        ties: what a campaign's accounts share.
    """

    row: CaseRow
    table: Table
    ties: Sequence[Tie]


class AccountSheet(Sheet, frozen=True):
    """An account.

    Attributes:
        row: as in a list; None for one that isn't remembered.
        name: its own.
        parts: why it is suspected, or why not.
        cases: those that it is in.
        decision: its owner's, None before the first.
    """

    row: AccountRow | None
    name: str
    parts: Sequence[Table | Figure]
    cases: Sequence[CaseRow]
    decision: str | None


class Overview(Sheet, frozen=True):
    """How things stand.

    Attributes:
        target: what is guarded.
        is_enforced: False in shadow mode.
        decisions: requests by what the guard decided, since it started.
        queries: rows that were admitted.
        leaked_bits: upper bound on the bits released.
        alarms: what became a case, by its kind.
        overhead_seconds: what half of the requests' own time in the guard is under; None where nobody knows.
        overhead_seconds_most: what all but one of a hundred are under, likewise.
        suspects: the riskiest accounts.
        campaigns: the riskiest, undecided ones first.
        n_open: cases without a decision.
        troubles: what doesn't work just now, in words.
        is_watched: whether accounts are compared with honest ones.
        level: the p-value at which an account raises an alarm.
    """

    target: str
    is_enforced: bool
    decisions: Mapping[str, int]
    queries: int
    leaked_bits: float
    alarms: Mapping[str, int]
    overhead_seconds: float | None
    overhead_seconds_most: float | None
    suspects: Sequence[AccountRow]
    campaigns: Sequence[CaseRow]
    n_open: int
    troubles: Sequence[str]
    is_watched: bool
    level: float


class Study(Sheet, frozen=True):
    """The last result of a verb that takes long.

    Attributes:
        title: what it is of.
        time: when it was found, seconds since 1970.
        is_stale: whether it was found under other settings than those in force; None where nobody knows.
        parts: what was found.
    """

    title: str
    time: float
    is_stale: bool | None
    parts: Sequence[Table | Figure]


class Epoch(Sheet, frozen=True):
    """A commitment to a mark key.

    Attributes:
        number: its place in the chain.
        created: seconds since 1970.
        digest: what is published or timestamped.
        marks: each in short.
        timestamp: when an authority saw it, seconds since 1970, None where nobody knows.
    """

    number: int
    created: float
    digest: str
    marks: Sequence[str]
    timestamp: float | None


class Marks(Sheet, frozen=True):
    """What could be proven.

    Attributes:
        marks: those of the file, in short.
        epochs: the commitments, the last first.
        marked: rows that went out with a mark, since the guard started.
        unmarked: rows that should have, and didn't.
        problem: why the commitments can't be shown, "" where they can.
    """

    marks: Sequence[str]
    epochs: Sequence[Epoch]
    marked: int
    unmarked: int
    problem: str


class Version(Sheet, frozen=True):
    """A configuration that was in force.

    Attributes:
        digest: of its settings.
        time: from when on, seconds since 1970.
        is_live: whether it is in force.
        difference: from the one before it, line by line.
        text: the file then, "" where nobody kept it.
    """

    digest: str
    time: float
    is_live: bool
    difference: Sequence[str]
    text: str


class Configuration(Sheet, frozen=True):
    """The file and those before it.

    Attributes:
        path: the file's name.
        text: what is in it.
        seen: its digest, which says later whether somebody changed it meanwhile.
        digest: of the settings in force.
        versions: the last first.
        problem: why the file isn't in force, "" where it is.
    """

    path: str
    text: str
    seen: str
    digest: str
    versions: Sequence[Version]
    problem: str

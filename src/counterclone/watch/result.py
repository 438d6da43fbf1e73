"""What a watch found, as it is printed."""

from __future__ import annotations

import msgspec


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One account.

    Attributes:
        queries: rows that it asked and got answered.
        risk: 0 to 1, where it raises an alarm; None where there is no reference to tell it by.
        alarm_at_query: the number of queries at which its p-value passed the level, None where it didn't.
        p_value: how often an honest account goes as far in its whole life; None where it has too few queries.
        leaked_bits: upper bound on the bits that it got.
        reasons: what is unlike honest accounts, the plainest first.
        first_time: of its first exchange, seconds since 1970.
        last_time: of its last.
    """

    queries: int
    risk: float | None
    alarm_at_query: int | None
    p_value: float | None
    leaked_bits: float
    reasons: list[str]
    first_time: float
    last_time: float


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """Accounts that act as one.

    Attributes:
        id: the same for the same accounts.
        accounts: those that can be named.
        queries: theirs together.
        risk: of each of them, 0 to 1.
        alarm_at_query: what they had asked together when they were found.
        p_value: how often honest accounts alone look like this in one search.
        reasons: what they have in common.
    """

    id: str
    accounts: list[str]
    queries: int
    risk: float
    alarm_at_query: int | None
    p_value: float
    reasons: list[str]


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """The traffic of a source and what is wrong with it.

    Attributes:
        false_alarms_per_year: the rate that alarms keep.
        lines_skipped: bad lines of the source.
        accounts: by name, the busiest first.
        campaigns: the surest first.
        problems: what couldn't be read, and what keeps alarms from being raised, in words.
    """

    false_alarms_per_year: float
    lines_skipped: int
    accounts: dict[str, Account]
    campaigns: list[Campaign]
    problems: list[str]

    @property
    def queries(self) -> int:
        """Rows of all accounts."""
        return sum(account.queries for account in self.accounts.values())

    @property
    def alarmed(self) -> list[str]:
        """Accounts with an alarm of their own or their campaign's."""
        own = [name for name, account in self.accounts.items() if account.alarm_at_query is not None]
        return list(dict.fromkeys([*own, *(name for campaign in self.campaigns for name in campaign.accounts)]))

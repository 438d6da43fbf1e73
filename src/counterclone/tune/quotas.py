"""Limits on what an account may ask: which honest accounts they would have refused, and what a copy then takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from counterclone.budgets import DAY, MINUTE, Limit, pace
from counterclone.statistics import Interval
from counterclone.tune.crowd import Crowd

AMOUNTS = {
    "limit_queries_per_minute": (600, 60, 20, 6),
    "limit_queries_per_day": (20_000, 10_000, 5_000, 2_000, 1_000, 500, 200, 100, 50, 20, 10),
}
PERIODS = {"limit_queries_per_minute": MINUTE, "limit_queries_per_day": DAY}


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """One limit, all others left away.

    Attributes:
        key: of [guard].
        amount: rows for each of its periods.
        honest_limited: the share of honest accounts that it would have refused at least once, None where none are
            known.
        honest_limited_high: the upper end of its 95 % interval, likewise.
        days: that one account needs for the copy.
        accounts: that gather the copy in a day.
        copy_share: of the copy that an account may ask in a day, as `limit_copy_share_per_day` has it.
    """

    key: str
    amount: int
    honest_limited: float | None
    honest_limited_high: float | None
    days: float
    accounts: int
    copy_share: float


class Rung(NamedTuple):
    """A limit, and the share of honest accounts that it would have refused; None where none are known."""

    limit: Limit
    refused: Interval | None


class Chosen(NamedTuple):
    """A limit, None for none, and why."""

    quota: Quota | None
    reason: str


def ladder(own: Sequence[Limit], crowd: Crowd | None) -> list[Rung]:
    """The limits that are tried: some for each key, and the owner's own.

    Args:
        own: the owner's.
        crowd: honest accounts, None where none are known.
    """
    found = {(key, float(amount)): Limit(key, "queries", amount, PERIODS[key])
             for key, amounts in AMOUNTS.items() for amount in amounts}
    found |= {(limit.name, limit.amount): limit for limit in own if limit.name in AMOUNTS}
    limits = [limit for _, limit in sorted(found.items(), key=lambda item: (item[0][0], -item[0][1]))]
    return [Rung(limit, crowd.limited(limit) if crowd is not None and len(crowd) else None) for limit in limits]


def quotas(rungs: Sequence[Rung], queries: int) -> Iterator[Quota]:
    """What each limit means for a copy that takes so many queries, or more."""
    for limit, share in rungs:
        days, accounts = pace(queries, [limit])
        yield Quota(key=limit.name, amount=math.floor(limit.amount), days=days, accounts=accounts,
                    honest_limited=share and share.value, honest_limited_high=share and share.high,
                    copy_share=DAY / limit.seconds_per_unit / queries)


def choose(found: Sequence[Quota], most_limited: float) -> Chosen:
    """The limit under which a copy takes one account longest, of those that honest accounts hardly meet.

    Args:
        found: the limits with one setting.
        most_limited: the share of honest accounts that may ever be refused; the upper end of its interval counts.
    """
    known = [quota for quota in found if quota.honest_limited_high is not None]
    if not known:
        return Chosen(None, "no limit was chosen, since no honest traffic is known; name it with --benign or "
                      "[watch] benign")
    within = [quota for quota in known if (quota.honest_limited_high or 0.0) <= most_limited]
    if not within:
        nearest = min(known, key=lambda quota: (quota.honest_limited_high or 0.0, -quota.days))
        return Chosen(None, "no limit was chosen: honest_limited_max binds, and the nearest is "
                      f"{_refusing(nearest)}")
    best = max(within, key=lambda quota: (quota.days, -quota.copy_share))
    return Chosen(best, f"the limit is {_refusing(best)}")


def _refusing(quota: Quota) -> str:
    return (f"{quota.key} = {quota.amount:,}, which would have refused {quota.honest_limited:.2%} of honest "
            f"accounts (at most {quota.honest_limited_high:.2%}) at least once")

"""How sure an alarm must be, and the risk that an account is given short of one."""

from __future__ import annotations

import math

ACCOUNTS_SHARE = 0.5
"""Of the false alarms asked for; the rest is the campaigns'."""
DAYS_PER_YEAR = 365.0
SECONDS_PER_DAY = 86_400.0
LARGEST_LEVEL = 0.5
"""However many false alarms are asked for, an account as good as half of the honest ones raises none."""


def account_level(false_alarms_per_year: float, days: float, n_accounts: int) -> float:
    """The p-value at which one account raises an alarm, so that the fleet keeps the rate: 0 to 0.5.

    Args:
        false_alarms_per_year: of the whole fleet, campaigns included.
        days: that the traffic spans.
        n_accounts: accounts seen in them.
    """
    expected = false_alarms_per_year * ACCOUNTS_SHARE * days / DAYS_PER_YEAR
    return min(expected / max(n_accounts, 1), LARGEST_LEVEL)


def risk_of(p_value: float, level: float) -> float:
    """0 for an account like the honest ones, 1 from the level on; between them by the logarithm of p.

    A risk of 1/2 is a p-value as large as the level's root: where one honest account of 10,000 reaches 1, one of
    100 reaches 1/2.
    """
    if level <= 0.0 or p_value >= 1.0:
        return 0.0
    return min(math.log(p_value) / math.log(level), 1.0)


def accounts_needed(level: float) -> int | None:
    """Honest accounts it takes, so that one unlike all of them raises an alarm; None: no number will do."""
    return math.ceil(1.0 / level) - 1 if level > 0.0 else None

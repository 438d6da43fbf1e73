"""Count exchanges by account, from a journal's folder or from JSON lines."""

from __future__ import annotations

from pathlib import Path

import msgspec

from counterclone.errors import SourceError
from counterclone.journal import JournalFolder, read_lines


class AccountTotals(msgspec.Struct):
    """One account's part of the traffic.

    `risk`, `alarm_at_query` and `p_value` are None as long as no detector is configured.

    Attributes:
        queries: rows that it asked.
        leaked_bits: upper bound on the bits that it got.
        first_time: of its first exchange, seconds since 1970.
        last_time: of its last.
    """

    queries: int = 0
    risk: float | None = None
    alarm_at_query: int | None = None
    p_value: float | None = None
    leaked_bits: float = 0.0
    reasons: list[str] = []
    first_time: float = float("inf")
    last_time: float = float("-inf")

    def add(self, queries: int, leaked_bits: float, first_time: float, last_time: float) -> None:
        """Count more exchanges."""
        self.queries += queries
        self.leaked_bits += leaked_bits
        self.first_time = min(self.first_time, first_time)
        self.last_time = max(self.last_time, last_time)


class Totals(msgspec.Struct):
    """The traffic of a source.

    Attributes:
        false_alarms_per_year: the rate that alarms keep; None as long as no detector is configured.
        lines_skipped: bad lines of a JSON lines source.
        accounts: by id, the busiest first.
        campaigns: none as long as no detector is configured.
        problems: what couldn't be read, in words.
    """

    false_alarms_per_year: float | None
    lines_skipped: int
    accounts: dict[str, AccountTotals]
    campaigns: list[str]
    problems: list[str]

    @property
    def queries(self) -> int:
        """Rows of all accounts."""
        return sum(account.queries for account in self.accounts.values())


def count(source: Path) -> Totals:
    """Count a journal folder or a file of JSON lines.

    Raises:
        SourceError: there is no such source, or it can't be read.
    """
    if source.is_dir():
        return _of_folder(source)
    if source.is_file():
        return _of_lines(source)
    raise SourceError(f"{source}: not found; expected a journal folder or a file of exchanges as JSON lines; "
                      "name one, or run the guard first")


def _of_folder(path: Path) -> Totals:
    folder = JournalFolder(path)
    with folder.connect() as connection:
        rows = connection.execute(
            "select account, count(*), coalesce(sum(bits), 0), epoch(min(time)), epoch(max(time)) "
            "from exchanges group by account").fetchall()
    accounts: dict[str, AccountTotals] = {}
    for account, queries, bits, first, last in rows:
        accounts.setdefault(account, AccountTotals()).add(queries, bits, first, last)
    return _totals(accounts, 0, folder.problems)


def _of_lines(path: Path) -> Totals:
    lines = read_lines(path)
    accounts: dict[str, AccountTotals] = {}
    for line in lines:
        accounts.setdefault(line.account, AccountTotals()).add(line.n_rows, 0.0, line.time, line.time)
    return _totals(accounts, lines.n_skipped, [f"{path}: {problem}" for problem in lines.skipped])


def _totals(accounts: dict[str, AccountTotals], n_skipped: int, problems: list[str]) -> Totals:
    busiest = sorted(accounts.items(), key=lambda item: (-item[1].queries, item[0]))
    return Totals(false_alarms_per_year=None, lines_skipped=n_skipped, accounts=dict(busiest), campaigns=[],
                  problems=problems)

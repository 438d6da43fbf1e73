from __future__ import annotations

import numpy as np
import pytest
from tests.watch.toys import ShiftTracker, traffic

from counterclone.errors import WatchError
from counterclone.exchanges import Exchanges
from counterclone.randomness import generator
from counterclone.watch.accounts import AccountTable


def table_of(max_accounts: int = 100) -> AccountTable:
    return AccountTable([ShiftTracker(0)], max_accounts)


def one_each(n: int, start: float = 1.76e9) -> Exchanges:
    exchanges = traffic(generator(0, n), np.ones(n, dtype=np.int64))
    exchanges.times[:] = start
    return exchanges.numbered(np.arange(n))


def test_accounts_have_rows() -> None:
    table = table_of()
    rows = table.admit(["a", "b"])
    again = table.admit(["b", "c"], kinds=["testers", ""])
    assert again[0] == rows[1]
    assert table.names == ["a", "b", "c"]
    assert [table.name(row) for row in table.rows.tolist()] == table.names
    assert (len(table), table.n_seen, "a" in table, table.row("d")) == (3, 3, True, None)
    assert [table.kinds[number] for number in table.columns.kinds[table.rows].tolist()] == ["", "testers", ""]


def test_it_grows_to_what_it_may_hold_and_keeps_what_it_has() -> None:
    table = table_of(1000)
    for start in range(0, 1000, 50):
        rows = table.admit([str(i) for i in range(start, start + 50)])
        table.states[0][rows, 1] = np.arange(start, start + 50)
    assert len(table) == len(table.columns.counts) == len(table.states[0]) == 1000
    assert table.states[0][table.rows, 1].tolist() == list(range(1000))
    assert table.n_forgotten == 0


def test_a_full_table_forgets_those_that_were_quiet_longest_and_alarms_last() -> None:
    table = table_of(64)
    for i in range(64):
        table.admit([str(i)])
    table.admit(["0"])
    alarmed = table.row("1")
    table.columns.is_alarmed[alarmed] = True
    table.states[0][:] = 7
    (row,) = table.admit(["new"]).tolist()
    assert table.n_forgotten == 64 // 16
    assert [name for name in map(str, range(64)) if name not in table] == ["2", "3", "4", "5"]
    assert table.states[0][row].tolist() == [0, 0]
    assert table.row("1") == alarmed


def test_a_million_accounts_with_one_query_each_stay_bounded() -> None:
    table = table_of(500)
    for start in range(0, 20_000, 250):
        table.admit([str(i) for i in range(start, start + 250)])
    assert len(table) <= 500
    assert len(table.columns.counts) == len(table.states[0]) == 500
    assert table.n_seen == 20_000
    assert table.n_forgotten == 20_000 - len(table)


def test_more_than_there_is_room_for_at_once_is_an_error() -> None:
    with pytest.raises(WatchError, match="3 accounts at once don't fit a table for 2"):
        table_of(2).admit(["a", "b", "c"])
    with pytest.raises(WatchError, match="expected 1 or more"):
        table_of(0)


def test_quiet_accounts_expire() -> None:
    table = table_of()
    exchanges = one_each(3)
    exchanges.times[:] = [10.0, 20.0, 30.0]
    table.count(exchanges.numbered(table.admit(["a", "b", "c"])))
    table.expire(20.0)
    assert table.names == ["b", "c"]
    assert (table.n_expired, table.n_forgotten) == (1, 0)


def test_gaps_are_counted_where_nobody_did() -> None:
    table = table_of()
    exchanges = traffic(generator(0, "gaps"), np.full(2, 4)).numbered(np.array([0, 1, 0, 0, 1, 1, 0, 1]))
    exchanges.times[:] = [0.0, 1.0, 2.0, 5.0, 9.0, 8.0, 10.0, 20.0]
    exchanges.gaps[7] = 0.25
    rows = table.admit(["a", "b"])
    first, second = (table.with_gaps(part.numbered(rows[part.accounts]))
                     for part in (exchanges.select(slice(0, 5)), exchanges.select(slice(5, 8))))
    np.testing.assert_array_equal(first.gaps, np.array([np.nan, np.nan, 2.0, 3.0, 8.0], dtype=np.float32))
    np.testing.assert_array_equal(second.gaps, np.array([0.0, 5.0, 0.25], dtype=np.float32))
    assert table.n_jumps == 1


def test_sums_are_kept_exactly() -> None:
    table = table_of()
    exchanges = traffic(generator(0, "sums"), np.full(2, 3))
    exchanges.bits[:] = [1.5, np.nan, np.inf, -1.0, 2.25, 1e30]
    rows = table.admit(["a", "b"])
    table.count(exchanges.numbered(rows[np.array([0, 0, 0, 0, 1, 1])]))
    assert table.columns.counts[rows].tolist() == [4, 2]
    assert table.leaked_bits(rows).tolist() == [1.5, 2.25 + 2.0**30]
    assert table.columns.first_times[rows[0]] == exchanges.times[:4].min()
    assert table.columns.last_times[rows[1]] == exchanges.times[4:].max()


def test_it_comes_back_as_it_was_whatever_the_names() -> None:
    table = table_of()
    names = ["", "é", "\ud800", "a" * 1000, "b\0"]
    rows = table.admit(names, kinds=["", "x", "x", "y", ""])
    table.states[0][rows] = np.arange(10).reshape(5, 2)
    table.columns.maxima[rows] = 3.5
    table.admit(["b\0"])
    back = AccountTable.restored([ShiftTracker(0)], 100, table.arrays())
    assert back.names == names
    for name, array in back.arrays().items():
        np.testing.assert_array_equal(array, table.arrays()[name])


def test_what_was_saved_with_other_detectors_is_refused() -> None:
    arrays = table_of().arrays()
    with pytest.raises(WatchError, match="count the journal again"):
        AccountTable.restored([], 100, {**arrays, "column_maxima": np.zeros((0, 2))})

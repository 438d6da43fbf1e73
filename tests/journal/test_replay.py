from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from counterclone.journal import SCHEMA, Exchange, to_batch
from counterclone.journal.replay import REPLAY_ROWS, Source, in_order, in_time_order, start_of, table_of

MakeExchange = Callable[..., Exchange]
SECONDS = st.integers(0, 40)


def table(make_exchange: MakeExchange, seconds: list[int]) -> pa.Table:
    return table_of([to_batch([make_exchange(second, time=1e9 + second) for second in seconds])])


@given(st.lists(st.lists(SECONDS, max_size=6), max_size=6), st.booleans())
def test_overlapping_segments_come_by_time(make_exchange: MakeExchange, segments: list[list[int]],
                                           has_starts: bool) -> None:
    tables = [table(make_exchange, seconds) for seconds in segments]
    sources = [Source(start_of(rows) if has_starts and rows.num_rows else 0, partial(lambda rows: rows, rows))
               for rows in tables]
    replayed = [digest for batch in in_time_order(sources) for digest in batch.column("digest").to_pylist()]
    assert replayed == sorted(second for seconds in segments for second in seconds)


def test_only_overlapping_segments_are_loaded_at_once(make_exchange: MakeExchange) -> None:
    n_loaded = []

    def load(start: int) -> pa.Table:
        n_loaded.append(start)
        return table(make_exchange, [start, start + 5])

    batches = in_time_order([Source((10**9 + start) * 10**6, partial(load, start)) for start in (30, 0, 4, 20)])
    assert next(batches).column("digest").to_pylist() == [0, 4, 5]
    assert n_loaded == [0, 4]
    assert sum(batch.num_rows for batch in batches) == 5
    assert n_loaded == [0, 4, 20, 30]


def test_batches_are_bounded_and_keep_the_schema(make_exchange: MakeExchange) -> None:
    rows = table_of([to_batch([make_exchange(0, n_rows=2 * REPLAY_ROWS + 1)])])
    batches = list(in_time_order([Source(0, lambda: rows)]))
    assert [batch.num_rows for batch in batches] == [REPLAY_ROWS, REPLAY_ROWS, 1]
    assert all(batch.schema.equals(SCHEMA, check_metadata=True) for batch in batches)


def test_equal_times_keep_their_order(make_exchange: MakeExchange) -> None:
    times = [5, 3, 5, 3, 4]
    rows = pa.Table.from_batches([to_batch([make_exchange(i, time=time) for i, time in enumerate(times)])])
    assert in_order(rows).column("digest").to_pylist() == [1, 3, 4, 0, 2]


def test_nothing_is_nothing() -> None:
    assert list(in_time_order([])) == []
    assert list(in_time_order([Source(0, SCHEMA.empty_table)])) == []

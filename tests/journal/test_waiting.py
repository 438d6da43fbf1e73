from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from counterclone.journal import Block, Exchange
from counterclone.journal.waiting import MAX_BYTES, MAX_ROWS, Waiting

MakeExchange = Callable[..., Exchange]


def digests(blocks: Sequence[Block]) -> list[int]:
    return [digest for block in blocks if isinstance(block, Exchange) for digest in block.digests]


def taken(waiting: Waiting) -> list[int]:
    return digests(waiting.take(10**9, 10**9))


def test_rows_come_out_as_they_went_in(make_exchange: MakeExchange) -> None:
    waiting = Waiting(lambda n: None)
    assert [waiting.append(make_exchange(digest, n_rows=2)) for digest in (10, 20, 30)] == [2, 4, 6]
    first = waiting.take(3, 10**9)
    assert digests(first) == [10, 11, 20, 21]
    assert waiting.n_rows == 6
    waiting.put_back(first)
    assert taken(waiting) == [10, 11, 20, 21, 30, 31]


def test_a_take_is_bounded_by_bytes_too(make_exchange: MakeExchange) -> None:
    waiting = Waiting(lambda n: None)
    for digest in range(3):
        waiting.append(make_exchange(digest, d=1000))
    assert len(waiting.take(1000, 8001)) == 2
    assert len(waiting.take(1000, 8000)) == 1
    assert waiting.take(1000, 8000) == []


def test_the_oldest_rows_are_dropped_and_counted(make_exchange: MakeExchange) -> None:
    dropped: list[int] = []
    waiting = Waiting(dropped.append)
    for digest in range(0, MAX_ROWS + 300, 100):
        waiting.append(make_exchange(digest, n_rows=100))
    n_appended = len(range(0, MAX_ROWS + 300, 100)) * 100
    assert waiting.n_rows <= MAX_ROWS
    assert sum(dropped) == n_appended - waiting.n_rows == 400
    assert taken(waiting)[0] == 400


def test_bytes_are_bounded_as_well(make_exchange: MakeExchange) -> None:
    dropped: list[int] = []
    waiting = Waiting(dropped.append)
    eighth = MAX_BYTES // 8
    text = replace(make_exchange(0), features=None, texts=["x" * eighth])
    features = replace(make_exchange(1), features=np.zeros((1, eighth // 8)))
    payload = make_exchange(2, d=0, payload=bytes(eighth))
    for block in [text, features, payload] * 3:
        waiting.append(block)
    assert dropped == [1]
    assert taken(waiting)[:2] == [1, 2]


def test_an_exchange_too_large_to_wait_is_dropped(make_exchange: MakeExchange) -> None:
    dropped: list[int] = []
    waiting = Waiting(dropped.append)
    waiting.append(make_exchange(0))
    waiting.append(make_exchange(1, n_rows=MAX_ROWS + 1, d=0))
    assert dropped == [1, MAX_ROWS + 1]
    assert waiting.n_rows == 0


def test_what_is_being_written_counts_and_stays(make_exchange: MakeExchange) -> None:
    dropped: list[int] = []
    waiting = Waiting(dropped.append)
    waiting.append(make_exchange(0, n_rows=MAX_ROWS - 1, d=0))
    being_written = waiting.take(1, 1)
    waiting.append(make_exchange(1))
    waiting.append(make_exchange(2))
    assert dropped == [1]
    waiting.put_back(being_written)
    waiting.append(make_exchange(3))
    assert dropped == [1, MAX_ROWS - 1]
    assert taken(waiting) == [2, 3]


@given(st.lists(st.integers(0, 40_000), max_size=12), st.data())
def test_every_row_is_written_dropped_or_waiting(make_exchange: MakeExchange, sizes: list[int],
                                                data: st.DataObject) -> None:
    dropped: list[int] = []
    waiting, settled, in_hand = Waiting(dropped.append), 0, []
    for size in sizes:
        waiting.append(make_exchange(0, n_rows=size, d=0))
        action = data.draw(st.sampled_from(["take", "settle", "put back", "nothing"]))
        if action == "take":
            in_hand += waiting.take(1024, 10**9)
        elif action == "settle":
            settled += waiting.settle(in_hand)
            in_hand = []
        elif action == "put back":
            waiting.put_back(in_hand)
            in_hand = []
        assert waiting.n_rows <= max(MAX_ROWS, sum(block.n_rows for block in in_hand))
    waiting.put_back(in_hand)
    assert settled + sum(dropped) + waiting.n_rows == sum(sizes)
    assert len(taken(waiting)) == waiting.n_rows


def test_a_thread_may_take_while_another_appends(make_exchange: MakeExchange) -> None:
    dropped: list[int] = []
    waiting, settled, is_over = Waiting(dropped.append), [0], threading.Event()

    def take() -> None:
        while not is_over.is_set() or waiting.n_rows:
            settled[0] += waiting.settle(waiting.take(1024, 10**9))

    thread = threading.Thread(target=take)
    thread.start()
    block = make_exchange(0, n_rows=300)
    for _ in range(5000):
        waiting.append(block)
    is_over.set()
    thread.join()
    assert settled[0] + sum(dropped) == 5000 * 300
    assert waiting.n_rows == 0

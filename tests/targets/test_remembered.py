from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.answers import Reply
from counterclone.errors import SourceError, TargetError
from counterclone.queries import Inputs
from counterclone.targets import remembered
from counterclone.targets.counted import Counted
from counterclone.targets.remembered import Remembered


class Noisy:
    """Answers each row with another number, whatever it is."""

    def __init__(self, *, logits: bool = False, ids: bool = False, dies_after: float = np.inf) -> None:
        self._draws = itertools.count(1)
        self._logits = logits
        self._ids = ids
        self.dies_after = dies_after
        self.n_asked = 0

    async def query(self, inputs: Inputs) -> Reply:
        if self.n_asked + len(inputs) > self.dies_after:
            raise TargetError("it died")
        self.n_asked += len(inputs)
        first = 1.0 / np.array([next(self._draws) for _ in range(len(inputs))])
        rows = np.column_stack([first, 1.0 - first])
        return Reply(rows, np.log(rows + 1.0) if self._logits else None,
                     np.arange(len(inputs)) if self._ids else None)


def ask(target: Remembered, *batches: Inputs) -> list[Reply]:
    async def asking() -> list[Reply]:
        return [await target.query(batch) for batch in batches]

    return asyncio.run(asking())


def same(one: Reply, other: Reply) -> bool:
    return all(np.array_equal(a, b) if a is not None and b is not None else a is b
               for a, b in zip(one, other, strict=True))


A, B = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[3.0, 4.0], [5.0, 6.0]])


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_a_row_is_asked_once_in_all_runs(where: str, tmp_path: Path) -> None:
    model = Noisy()
    target = Remembered(model, tmp_path / "a" / "b.answers" if where == "disk" else None)
    first, = ask(target, A)
    target.begin()
    second, third = ask(target, A, B)
    assert same(first, second)
    assert third.rows[0].tolist() != first.rows[1].tolist()  # in one run, a second time is another draw
    assert model.n_asked == 4
    target.begin()
    fourth, = ask(target, B)
    assert fourth.rows[0].tolist() == first.rows[1].tolist()


def test_repeats_in_one_run_are_asked_and_come_again_in_the_next() -> None:
    model = Noisy()
    target = Remembered(model)
    repeats = np.repeat(A[:1], 5, axis=0)
    first, = ask(target, repeats)
    assert len(np.unique(first.rows[:, 0])) == 5
    target.begin()
    again = ask(target, repeats[:2], repeats[:3])
    assert np.concatenate([reply.rows for reply in again]).tolist() == first.rows.tolist()
    assert model.n_asked == 5


@pytest.mark.parametrize(("logits", "ids"), [(False, False), (True, False), (False, True), (True, True)])
def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logits: bool,
                                                 ids: bool) -> None:
    monkeypatch.setattr(remembered, "ROWS_AT_ONCE", 4)
    inputs = np.arange(40.0).reshape(20, 2)
    path = tmp_path / "kept.answers"
    model = Noisy(logits=logits, ids=ids, dies_after=10)
    with pytest.raises(TargetError, match="it died"):
        ask(Remembered(model, path), inputs)
    assert model.n_asked == 8
    model.dies_after = np.inf
    whole, = ask(Remembered(model, path), inputs)
    assert model.n_asked == 20  # nothing twice
    dead = Noisy(dies_after=0)
    again, = ask(Remembered(dead, path), inputs)
    assert same(whole, again)
    assert (again.logits is not None, again.ids is not None) == (logits, ids)


def test_texts_are_kept(tmp_path: Path) -> None:
    model = Noisy()
    first, = ask(Remembered(model, tmp_path / "x"), ["one", "two", "é"])
    second, = ask(Remembered(model, tmp_path / "x"), ["é", "one", "two"])
    assert second.rows.tolist() == first.rows[[2, 0, 1]].tolist()
    assert model.n_asked == 3


def test_a_record_that_was_cut_short_is_asked_anew(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    first, = ask(Remembered(Noisy(), path), A)
    content = path.read_bytes()
    size = (len(content) - remembered._HEAD_BYTES) // 2
    for n_bytes in range(len(content)):
        path.write_bytes(content[:n_bytes])
        model = Noisy()
        reply, = ask(Remembered(model, path), A)
        n_kept = max(n_bytes - remembered._HEAD_BYTES, 0) // size
        assert model.n_asked == 2 - n_kept
        assert reply.rows[:n_kept].tolist() == first.rows[:n_kept].tolist()
        again, = ask(Remembered(Noisy(dies_after=0), path), A)
        assert same(reply, again)


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, and no answers")
    with pytest.raises(SourceError, match="holds no answers of an audit"):
        Remembered(Noisy(), path)
    assert path.read_text() == "these are my notes, and no answers"


class Changing(Noisy):
    """Has another number of classes, or of answers, the second time."""

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__()
        self._shape = shape

    async def query(self, inputs: Inputs) -> Reply:
        self.n_asked += len(inputs)
        shape = (len(inputs), 2) if self.n_asked == len(inputs) else self._shape
        return Reply(np.full(shape, 1 / shape[1]))


@pytest.mark.parametrize("shape", [(2, 3), (1, 2), (3, 2)], ids=["classes", "fewer", "more"])
def test_answers_of_another_form_are_told(shape: tuple[int, int]) -> None:
    target = Remembered(Changing(shape))
    ask(target, A)
    with pytest.raises(TargetError, match="expected one for each, all of one form"):
        ask(target, B + 10)


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=4))
def test_it_answers_as_a_target_that_draws_once_for_each_time(runs: Sequence[Sequence[int]]) -> None:
    """The k-th time that a run asks a row, it gets what every run gets then."""
    model = Noisy()
    target = Remembered(model)
    known: dict[tuple[int, int], float] = {}
    for run in runs:
        target.begin()
        reply, = ask(target, np.array(run, dtype=np.float64)[:, None])
        for place, (row, answer) in enumerate(zip(run, reply.rows[:, 0].tolist(), strict=True)):
            assert known.setdefault((row, run[:place].count(row)), answer) == answer
    assert model.n_asked == len(known)


def test_what_a_target_answers_is_counted() -> None:
    target = Counted(Noisy(dies_after=3))
    asyncio.run(target.query(A))
    with pytest.raises(TargetError):
        asyncio.run(target.query(A))
    assert target.queries == 2

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from counterclone.detectors._sample import MOST_COUNTED, Sample, counts, kept, merged, salt_of, shared
from counterclone.protocols import States
from counterclone.randomness import generator

SALT = np.uint64(12345)
SAMPLE = Sample(8, SALT)
N_ACCOUNTS = 4
ROWS = st.lists(st.tuples(st.integers(0, N_ACCOUNTS - 1), st.integers(0, 40)), max_size=120)
Rows = list[tuple[int, int]]


def sampled(rows: Rows, sample: Sample = SAMPLE) -> States:
    samples = sample.empty(N_ACCOUNTS)
    add(samples, rows, sample)
    return samples


def add(samples: States, rows: Rows, sample: Sample = SAMPLE) -> None:
    table = np.array(rows, dtype=np.int64).reshape(-1, 2)
    sample.learn(samples, table[:, 0].astype(np.intp), table[:, 1].astype(np.uint64))


def of_one(things: NDArray[np.uint64], sample: Sample) -> States:
    samples = sample.empty(1)
    sample.learn(samples, np.zeros(len(things), dtype=np.intp), things)
    return samples


@given(ROWS)
def test_counts_are_exact_and_the_largest_keys_are_kept(rows: Rows) -> None:
    samples = sampled(rows)
    for account in range(N_ACCOUNTS):
        times = Counter(thing for owner, thing in rows if owner == account)
        alone = {thing: sampled([(account, thing)] * n)[account] for thing, n in times.items()}
        expected = np.max([SAMPLE.empty(1)[0], *alone.values()], axis=0)
        assert np.array_equal(samples[account], expected)


@given(ROWS, st.integers(0, 120))
def test_nothing_depends_on_order_or_on_batches(rows: Rows, cut: int) -> None:
    order = generator(cut, len(rows)).permutation(len(rows))
    shuffled = [rows[i] for i in order]
    samples = sampled(shuffled[:cut])
    add(samples, shuffled[cut:])
    assert np.array_equal(samples, sampled(rows))


@given(ROWS, ROWS, ROWS)
def test_shards_merge_to_the_whole(first: Rows, second: Rows, third: Rows) -> None:
    parts = [sampled(rows) for rows in (first, second, third)]
    whole = sampled([*first, *second, *third])
    assert np.array_equal(merged(merged(parts[0], parts[1]), parts[2]), whole)
    assert np.array_equal(merged(parts[0], merged(parts[2], parts[1])), whole)
    assert np.array_equal(merged(whole, SAMPLE.empty(N_ACCOUNTS)), whole)


def test_counts_have_a_ceiling_in_any_order() -> None:
    many = of_one(np.full(MOST_COUNTED - 1, 7, dtype=np.uint64), SAMPLE)
    few = of_one(np.full(3, 7, dtype=np.uint64), SAMPLE)
    assert counts(merged(many, few)).max() == MOST_COUNTED
    assert np.array_equal(merged(merged(many, few), few), merged(many, merged(few, few)))
    assert np.array_equal(kept(merged(many, few)), kept(few))


@pytest.mark.parametrize("n", [1, 5, 40, 128, 1000, 100_000])
def test_different_things_are_estimated(n: int) -> None:
    sample = Sample(128, SALT)
    estimates = [sample.distinct(of_one(np.arange(n, dtype=np.uint64) + np.uint64(seed << 32), sample))[0]
                 for seed in range(30)]
    assert np.mean(estimates) == pytest.approx(n, rel=0.06)
    assert np.std(estimates) / n < 0.15


def test_nothing_is_nothing() -> None:
    sample = Sample(16, SALT)
    assert sample.distinct(sample.empty(2)).tolist() == [0.0, 0.0]
    assert shared(sample.empty(2), sample.empty(2)).tolist() == [0, 0]


def test_what_two_accounts_share_shows_in_their_samples() -> None:
    sample = Sample(128, SALT)
    things = np.arange(900, dtype=np.uint64)
    one, other, apart = (of_one(part, sample) for part in (things[:600], things[300:], things[600:]))
    assert 30 <= shared(one, other)[0] <= 56  # a third of 128
    assert shared(one, apart).tolist() == [0]
    assert shared(one, one).tolist() == [(kept(one) > 0).sum()]


def test_a_salt_is_its_references() -> None:
    digests = np.arange(50, dtype=np.uint64)
    assert salt_of(digests, 1) == salt_of(digests[::-1], 1)
    assert len({int(salt_of(digests, 1)), int(salt_of(digests, 2)), int(salt_of(digests[1:], 1))}) == 3

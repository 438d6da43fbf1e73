from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.watch.toys import traffic

from counterclone.randomness import generator
from counterclone.watch.calibration import CHECKPOINTS
from counterclone.watch.cuts import cut


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.lists(st.integers(0, 30), min_size=5, max_size=5))
def test_stretches_end_at_checkpoints_and_hold_every_exchange(accounts: list[int], before: list[int]) -> None:
    exchanges = replace(traffic(generator(0, "cuts"), np.array([len(accounts)])),
                        accounts=np.array(accounts, dtype=np.intp))
    counts = np.array(before) + np.bincount(accounts, minlength=5)
    cuts = cut(exchanges, counts)
    lives = dict(enumerate(before))
    ends: dict[int, int] = {}
    for account, number in zip(accounts, cuts.numbers.tolist(), strict=True):
        lives[account] += 1
        assert cuts.rows[number] == account
        point = cuts.points[number]
        assert (CHECKPOINTS[point - 1] if point else 0) < lives[account] <= CHECKPOINTS[point]
        ends[number] = lives[account]
    assert sorted(ends) == list(range(len(cuts.rows)))
    for number, end in ends.items():
        assert cuts.is_whole[number] == (end == CHECKPOINTS[cuts.points[number]])
        earlier = cuts.points[:number][cuts.rows[:number] == cuts.rows[number]]
        assert cuts.rounds[number] == len(earlier)
        assert (earlier < cuts.points[number]).all()

"""The laws of every policy on arbitrary rows, beside the examples that `check_policy` draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from counterclone.answers import Rows, normalised, top_labels
from counterclone.policies.deception import Deception
from counterclone.policies.labels import Labels
from counterclone.policies.noise import Noise
from counterclone.policies.reverse_sigmoid import ReverseSigmoid
from counterclone.policies.rounding import Rounding
from counterclone.policies.temperature import Temperature
from counterclone.policies.truncation import Truncation
from counterclone.protocols import Policy
from counterclone.testing import example_context, release

POLICIES: list[Policy] = [
    Labels(), Truncation(top_k=1), Truncation(top_k=3), Truncation(top_k=2, rest="drop"), Rounding(decimals=1),
    Rounding(decimals=6), Rounding(significant_bits=1), Rounding(significant_bits=12), Noise(scale=0.3),
    Noise(scale=4.0, keep_order=3), Temperature(temperature=0.05), Temperature(temperature=7.0),
    ReverseSigmoid(), ReverseSigmoid(beta=1.9, gamma=10.0), Deception(), Deception(l1_max=0.05),
]
each_policy = pytest.mark.parametrize("policy", POLICIES, ids=repr)

WEIGHTS = st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]) | st.floats(0.0, 1.0)


def to_rows(weights: Rows) -> Rows:
    weights[:, -1] += weights.sum(axis=1) == 0.0
    return normalised(weights / weights.sum(axis=1, keepdims=True), "drawn")


ROWS = st.tuples(st.integers(1, 6), st.integers(1, 12)).flatmap(
    lambda shape: arrays.arrays(np.float64, shape, elements=WEIGHTS)).map(to_rows)


@each_policy
@given(rows=ROWS)
def test_rows_stay_normalised(policy: Policy, rows: Rows) -> None:
    released = release(policy, rows)
    assert released.shape == rows.shape
    assert np.isfinite(released).all()
    assert (released >= 0.0).all()
    assert np.abs(released.sum(axis=1) - 1.0).max() <= 1e-9


@each_policy
@given(rows=ROWS)
def test_the_top_label_is_kept(policy: Policy, rows: Rows) -> None:
    assert not policy.may_flip
    np.testing.assert_array_equal(top_labels(release(policy, rows)), top_labels(rows))


@each_policy
@given(rows=ROWS, data=st.data())
def test_cuts_change_nothing(policy: Policy, rows: Rows, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    whole = release(policy, rows, example_context(len(rows)))
    assert release(policy, rows, example_context(len(rows)), cuts).tobytes() == whole.tobytes()


@each_policy
@given(rows=ROWS)
def test_rows_in_another_layout_or_read_only_change_nothing(policy: Policy, rows: Rows) -> None:
    whole = release(policy, rows)
    locked = rows.copy()
    locked.setflags(write=False)
    assert release(policy, locked).tobytes() == whole.tobytes()
    np.testing.assert_allclose(release(policy, np.asfortranarray(rows)), whole, rtol=1e-12, atol=1e-15)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterclone.detectors import _geometry
from counterclone.detectors._bins import Bins
from counterclone.detectors._geometry import Buckets, Geometry, Scaling
from counterclone.errors import WatchError
from counterclone.randomness import generator
from counterclone.testing import honest_exchanges

REFERENCE = honest_exchanges(120)
GEOMETRY = Geometry.fit(_geometry.measurable(REFERENCE))


def test_what_is_computed_has_no_order() -> None:
    part = REFERENCE.select(slice(0, 700))
    energies = GEOMETRY.energies(part)
    for rows in ([0], [5, 3, 699], range(699, -1, -7)):
        np.testing.assert_array_equal(GEOMETRY.energies(part.select(np.array(rows))), energies[list(rows)])
    doubles = energies.astype(np.float64)
    assert (doubles == np.rint(doubles)).all()
    np.testing.assert_array_equal(energies.sum(axis=1), doubles.sum(axis=1))  # whole up to 2**24 in 32 bits


def test_products_are_whole_numbers_however_far_out_a_vector_lies() -> None:
    far = np.full((3, 64), 1e30, dtype=np.float32)
    steps = GEOMETRY.scaling(far)
    assert np.abs(steps).max() == _geometry.REACH
    exact = steps.astype(np.float64) @ GEOMETRY.directions[0].astype(np.float64)
    np.testing.assert_array_equal((steps @ GEOMETRY.directions[0]).astype(np.float64), exact)


def test_honest_queries_have_one_deviation_on_average() -> None:
    fresh = honest_exchanges(120, seed=1)
    deviations = GEOMETRY.energies(fresh).mean(axis=0) / 256.0
    assert 0.4 < deviations.mean() < 1.6


def test_odd_values_of_a_few_dont_set_the_scale() -> None:
    vectors = generator(0, "vectors").standard_normal((5000, 64)).astype(np.float32)
    odd = vectors.copy()
    odd[:4] = 1e6
    np.testing.assert_allclose(Scaling.fit(odd).per_step, Scaling.fit(vectors).per_step, rtol=0.02)


def test_coordinates_that_never_vary_have_a_scale_and_none_varies_at_all() -> None:
    vectors = np.zeros((200, 64), dtype=np.float32)
    assert Scaling.fit(vectors)(vectors).tolist() == vectors.tolist()
    assert np.isfinite(Scaling.fit(vectors)(vectors + np.float32(1.0))).all()


@given(st.lists(st.integers(-1, 2**31 - 1), min_size=1, max_size=200))
@settings(max_examples=50, deadline=None)
def test_any_label_has_a_bucket(labels: list[int]) -> None:
    known = np.array(labels, dtype=np.int32)
    buckets = Buckets.fit(known)
    assert buckets.size <= _geometry.MAX_BUCKETS
    for asked in (known, np.array([-1, 0, 77, 2**31 - 1], dtype=np.int32)):
        assert ((buckets(asked) >= 0) & (buckets(asked) < buckets.size)).all()


def test_frequent_classes_have_buckets_of_their_own() -> None:
    labels = np.concatenate([np.arange(1000), np.repeat(np.arange(20), 50)]).astype(np.int32)
    buckets = Buckets.fit(labels)
    frequent = buckets(np.arange(20, dtype=np.int32))
    assert len(set(frequent.tolist())) == 20
    assert not set(frequent.tolist()) & set(buckets(np.arange(500, 1000, dtype=np.int32)).tolist())
    few = Buckets.fit(np.array([5, 7, 5], dtype=np.int32))
    assert few(np.array([5, 7, 9, -1], dtype=np.int32)).tolist() == [0, 1, 2, 2]


def test_one_account_doesnt_set_the_geometry() -> None:
    heavy = np.concatenate([np.zeros(5000, dtype=np.intp), np.arange(1, 1001)])
    row = REFERENCE.select(np.zeros(6000, dtype=np.intp)).numbered(heavy)
    assert (_geometry.measurable(row).accounts == 0).sum() == 200


def test_a_reference_without_vectors_is_refused() -> None:
    blank = replace(REFERENCE, vectors=np.full_like(REFERENCE.vectors, np.nan))
    with pytest.raises(WatchError, match="the reference has 0 exchanges whose queries have vectors, expected 100"):
        _geometry.measurable(blank)


def test_bins_hold_shares_of_each_class() -> None:
    values = np.concatenate([np.arange(1000), 5000 + np.arange(1000), [3.0]]).astype(np.float32)
    buckets = np.repeat([0, 1, 2], [1000, 1000, 1])
    bins = Bins.fit(values, buckets, 3, (0.25, 0.5))
    for bucket in (0, 1):
        counts = np.bincount(bins(values, buckets)[buckets == bucket])
        assert counts.tolist() == pytest.approx([250, 250, 500], abs=1)
    assert bins(np.array([0.0, 9999.0], dtype=np.float32), np.array([2, 2])).tolist() == [0, 2]


def test_edges_that_tie_are_one() -> None:
    values = np.where(np.arange(1000) < 900, 1.0, 0.5).astype(np.float32)
    bins = Bins.fit(values, np.zeros(1000, dtype=np.intp), 1, (0.05, 0.2, 0.5, 0.9))
    assert bins.size == 2
    assert bins(np.array([0.5, 1.0], dtype=np.float32), np.zeros(2, dtype=np.intp)).tolist() == [0, 1]



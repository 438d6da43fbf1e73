from __future__ import annotations

import math

import numpy as np
import pytest

from counterclone.answers import Context, Rows, top_labels
from counterclone.policies.noise import DEPTH, Noise
from counterclone.queries import Features, Query
from counterclone.randomness import Prf, generator
from counterclone.testing import check_policy, example_context, example_rows, release

KEY = Prf.from_secret("epoch 1")


def context(features: Features, key: Prf = KEY) -> Context:
    return Context(key, Query(features))


@pytest.mark.parametrize("scale", [1e-6, 0.5, 8.0])
@pytest.mark.parametrize("keep_order", [1, 5])
def test_laws(scale: float, keep_order: int) -> None:
    check_policy(Noise(scale=scale, keep_order=keep_order))


def levels(released: Rows, scale: float) -> Rows:
    """Log-odds against the largest class in steps, where they aren't zero."""
    with np.errstate(divide="ignore"):
        steps: Rows = np.log(released / released.max(axis=1, keepdims=True)) / scale
    return steps


# What decides the noise

FEATURES = generator(1, "features").standard_normal((100, 4))
ROWS = example_rows(100, 10)


def test_another_key_gives_other_noise() -> None:
    one = release(Noise(scale=0.5), ROWS, context(FEATURES))
    other = release(Noise(scale=0.5), ROWS, context(FEATURES, Prf.from_secret("epoch 2")))
    soft = (ROWS > 0.0).sum(axis=1) > 1
    assert (one != other).any(axis=1)[soft].mean() > 0.9


def test_another_query_gives_other_noise() -> None:
    row = np.full((100, 10), 0.1)
    assert len({released.tobytes() for released in release(Noise(scale=0.5), row, context(FEATURES))}) > 90


def test_averaging_repeats_recovers_nothing() -> None:
    repeats = [release(Noise(scale=0.5), ROWS, context(FEATURES.copy())) for _ in range(20)]
    assert all(repeat.tobytes() == repeats[0].tobytes() for repeat in repeats)


def test_near_duplicates_inside_a_cell_get_the_same_noise() -> None:
    near = FEATURES.astype(np.float32).view(np.uint32) >> 16 << 16  # the middles of the cells
    middles = near.astype(np.uint32).view(np.float32).astype(np.float64)
    shaken = middles * (1.0 + 1e-4 * generator(2, "shake").uniform(-1.0, 1.0, middles.shape))
    assert (shaken != middles).all()
    np.testing.assert_array_equal(release(Noise(scale=0.5), ROWS, context(shaken)),
                                  release(Noise(scale=0.5), ROWS, context(middles)))


def test_rows_of_one_query_have_noise_of_their_own() -> None:
    released = release(Noise(scale=0.5), np.full((3, 10), 0.1), Context(KEY, Query(FEATURES[:1]), 3))
    assert len({row.tobytes() for row in released}) == 3


def test_differences_inside_a_cell_show_nothing_below_the_step() -> None:
    logits = np.column_stack([np.linspace(0.0, 0.049, 50), np.zeros(50)])
    rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    released = release(Noise(scale=0.5), rows, context(np.repeat(FEATURES[:1], 50, axis=0)))
    assert len({row.tobytes() for row in released}) <= 2


# Its size

@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_log_odds_get_noise_of_deviation_scale(scale: float, n_classes: int) -> None:
    n_rows = 8000
    # Far enough below the largest that the label never needs repair, and not so far as to be zero.
    true = np.concatenate([[0.0], -7.0 * scale - 0.37 * scale * np.arange(n_classes - 1)])
    rows = np.tile(np.exp(true) / np.exp(true).sum(), (n_rows, 1))
    released = release(Noise(scale=scale), rows, example_context(n_rows))
    log_odds = np.log(released[:, 1:] / released[:, :1]) - true[1:]
    from_grid = scale**2 / 12.0
    assert np.sqrt(log_odds.var(axis=0) - from_grid) == pytest.approx(scale, rel=0.05)
    assert np.abs(log_odds.mean(axis=0)).max() < 0.05 * scale


@pytest.mark.parametrize("scale", [1e-3, 0.1, 0.5, 2.0, 8.0])
@pytest.mark.parametrize("keep_order", [1, 4])
def test_log_odds_are_multiples_of_scale(scale: float, keep_order: int) -> None:
    steps = levels(release(Noise(scale=scale, keep_order=keep_order), ROWS), scale)
    steps = steps[np.isfinite(steps)]
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-9)
    assert steps.min() >= -math.floor(DEPTH / scale) - 1


def test_classes_below_the_depth_are_zero() -> None:
    tiny = math.exp(-DEPTH - 6.0)
    assert release(Noise(scale=0.5), np.array([[1.0 - tiny, tiny]])).tolist() == [[1.0, 0.0]]


# What it keeps

@pytest.mark.parametrize("scale", [0.1, 2.0, 8.0])
@pytest.mark.parametrize("keep_order", [1, 2, 5, 10, 50])
def test_the_order_of_the_first_classes_is_kept(scale: float, keep_order: int) -> None:
    released = release(Noise(scale=scale, keep_order=keep_order), ROWS)
    order = np.argsort(-ROWS, axis=1, kind="stable")[:, :keep_order]
    assert (np.diff(np.take_along_axis(released, order, axis=1), axis=1) <= 0.0).all()
    np.testing.assert_array_equal(top_labels(released), top_labels(ROWS))


def test_the_order_of_the_others_is_not() -> None:
    order = np.argsort(-ROWS, axis=1, kind="stable")
    released = np.take_along_axis(release(Noise(scale=2.0, keep_order=2), ROWS), order, axis=1)
    assert (np.diff(released, axis=1) > 0.0).any()


@pytest.mark.parametrize("keep_order", [1, 3, 10])
def test_zero_stays_zero(keep_order: int) -> None:
    released = release(Noise(scale=1.0, keep_order=keep_order), ROWS)
    assert (ROWS == 0.0).any()
    assert (released[ROWS == 0.0] == 0.0).all()


@pytest.mark.parametrize(("scale", "n_classes", "bits"), [
    (8.0, 1, 0.0), (8.0, 2, 1.0 + 2.0), (1.0, 3, math.log2(3) + 2.0 * math.log2(18)),
], ids=["one class", "two", "three"])
def test_bits_count_the_grid(scale: float, n_classes: int, bits: float) -> None:
    assert Noise(scale=scale).bits(n_classes) == pytest.approx(bits)

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from counterclone.answers import Context, Rows, keep_top, top_labels
from counterclone.fidelity import calibration_error
from counterclone.policies.deception import Deception
from counterclone.queries import Features, Query
from counterclone.randomness import Prf, generator
from counterclone.testing import check_policy, example_context, example_rows, release

KEY = Prf.from_secret("epoch 1")
ANY_DISTANCE = Deception(l1_max=2.0)
FEATURES = generator(1, "features").standard_normal((200, 4))


def context(features: Features, key: Prf = KEY) -> Context:
    return Context(key, Query(features))


@pytest.mark.parametrize("l1_max", [0.01, 1.0, 2.0])
@pytest.mark.parametrize("confidences", [
    Deception().confidences, (0.05,), (1.0,)], ids=["usual", "little", "one-hot"])
def test_laws(l1_max: float, confidences: tuple[float, ...]) -> None:
    check_policy(Deception(l1_max=l1_max, confidences=confidences))


def distances(released: Rows, rows: Rows) -> NDArray[np.float64]:
    moved: NDArray[np.float64] = np.abs(released - rows).sum(axis=1)
    return moved


# How far rows move

@given(l1_max=st.floats(0.01, 2.0), n_classes=st.integers(2, 60), seed=st.integers(0, 50))
def test_no_row_moves_farther_than_allowed(l1_max: float, n_classes: int, seed: int) -> None:
    rows = example_rows(40, n_classes, seed=seed)
    assert distances(release(Deception(l1_max=l1_max), rows), rows).max() <= l1_max + 1e-9


@given(l1_max=st.sampled_from([0.1, 0.5, 1.0]), weights=st.lists(st.integers(0, 3), min_size=3, max_size=30))
def test_rows_with_ties_dont_either(l1_max: float, weights: list[int]) -> None:
    rows = np.array([weights], dtype=np.float64) + 1.0
    rows /= rows.sum()
    released = release(Deception(l1_max=l1_max), rows)
    assert distances(released, rows)[0] <= l1_max + 1e-9
    assert top_labels(released) == top_labels(rows)


def test_a_row_that_would_move_too_far_is_rounded() -> None:
    row = np.array([[0.38, 0.36, 0.26, 0.0, 0.0]])
    assert release(Deception(l1_max=0.2), row).tolist() == [[11 / 30, 11 / 30, 8 / 30, 0.0, 0.0]]


def test_a_row_that_moves_just_as_far_is_not() -> None:
    rng = generator(3, "just as far")
    top, rest = rng.uniform(0.501, 0.599, (200, 1)), rng.dirichlet(np.ones(4), 200)
    rows = np.hstack([top, (1.0 - top) * rest, np.zeros((200, 60))])
    released = release(Deception(l1_max=1.0), rows, context(FEATURES))
    np.testing.assert_allclose(released.max(axis=1), 0.5)


# What rows tell

def test_a_row_tells_the_label_and_a_confidence() -> None:
    rows = example_rows(400, 12)
    released = release(ANY_DISTANCE, rows)
    told = np.unique(released.max(axis=1).round(12))
    assert told.tolist() == [0.3, 0.5, 0.7, 0.9, 0.98]
    nearest = np.abs(rows.max(axis=1)[:, None] - told).min(axis=1)
    np.testing.assert_allclose(np.abs(rows.max(axis=1) - released.max(axis=1)), nearest, atol=1e-9)


def test_rows_with_the_same_label_and_confidence_are_told_apart_by_nothing() -> None:
    rows = softmax(generator(2, "rows").standard_normal((200, 10)), axis=1)
    rows = keep_top(rows, np.tile(np.eye(10)[3], (200, 1)))
    alike = rows[np.abs(rows.max(axis=1) - 0.3) < 0.1]
    assert len(alike) > 10
    same_query = context(np.repeat(FEATURES[:1], len(alike), axis=0))
    assert len({row.tobytes() for row in release(ANY_DISTANCE, alike, same_query)}) == 1


def test_decoys_are_even_over_the_wrong_classes() -> None:
    rows = np.tile([[0.1, 0.9, 0.0, 0.0, 0.0]], (4000, 1))
    released = release(Deception(), rows, example_context(4000))
    shares = (released > 0.0).mean(axis=0)
    assert shares[1] == 1.0
    np.testing.assert_allclose(np.delete(shares, 1), 0.25, atol=0.03)


@pytest.mark.parametrize("confidence", [0.15, 0.3, 0.5, 0.9])
def test_a_decoy_gets_half_of_what_the_label_gets_at_most(confidence: float) -> None:
    rows = example_rows(200, 30)
    released = np.sort(release(Deception(l1_max=2.0, confidences=(confidence,)), rows), axis=1)
    assert (released[:, -2] <= 0.5 * released[:, -1] + 1e-12).all()


# What decides the decoys

ROWS = np.tile([[0.6, 0.3, 0.1, *[0.0] * 97]], (200, 1))


def test_another_query_and_another_key_have_other_decoys() -> None:
    one = release(Deception(), ROWS, context(FEATURES))
    assert len({row.tobytes() for row in one}) > 80
    other = release(Deception(), ROWS, context(FEATURES, Prf.from_secret("epoch 2")))
    assert (one != other).any(axis=1).mean() > 0.9


def test_repeats_average_to_nothing() -> None:
    repeats = [release(Deception(), ROWS, context(FEATURES.copy())).tobytes() for _ in range(5)]
    assert len(set(repeats)) == 1


def test_near_duplicates_inside_a_cell_have_the_same_decoys() -> None:
    near = np.array([[1.0, 2.0], [1.0 + 1e-5, 2.0 - 1e-5]])
    assert Query(near).cells[0] == Query(near).cells[1]
    released = release(Deception(), ROWS[:2], context(near))
    np.testing.assert_array_equal(released[0], released[1])


# What it costs

@pytest.mark.parametrize("spread", [1.0, 2.0, 4.0, 10.0])
def test_a_calibrated_model_stays_so(spread: float) -> None:
    rng = generator(4, "calibrated")
    rows = softmax(spread * rng.standard_normal((20_000, 10)), axis=1)
    truth = (rows.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1).clip(0, 9)
    released = release(Deception(), rows)
    assert calibration_error(released, truth) - calibration_error(rows, truth) <= 0.02


def test_two_classes_have_no_second_choice_to_hide() -> None:
    rows = np.array([[0.86, 0.14], [0.45, 0.55]])
    np.testing.assert_allclose(release(Deception(), rows), [[0.9, 0.1], [0.5, 0.5]], atol=1e-12)
    assert top_labels(release(Deception(), rows)).tolist() == [0, 1]


@pytest.mark.parametrize("confidences", ["[0.9, 0.5]", "[0.5, 0.5]", "[]", "[0.0]", "[1.5]"])
def test_confidences_ascend_between_zero_and_one(confidences: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(f'{{"confidences": {confidences}}}', type=Deception)


@pytest.mark.parametrize(("l1_max", "n_classes", "bits"), [(2.0, 1, 0.0), (2.0, 10, 8.81), (1.0, 10, 17.36)])
def test_bits_count_the_rows(l1_max: float, n_classes: int, bits: float) -> None:
    assert Deception(l1_max=l1_max).bits(n_classes) == pytest.approx(bits, abs=0.01)

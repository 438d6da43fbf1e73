from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.answers import Rows
from counterclone.fidelity import (
    Labels,
    agreement,
    calibration_error,
    overlap,
    overlaps,
    probe_accuracy,
    ranking_area,
    top_accuracy,
)
from counterclone.randomness import generator
from counterclone.statistics import proportion


def labels(*values: int) -> Labels:
    return np.array(values, dtype=np.intp)


# Agreement

@pytest.mark.parametrize(("others", "value"), [
    (labels(0, 1, 2, 3), 1.0), (labels(0, 1, 2, 0), 0.75), (labels(9, 9, 9, 9), 0.0),
], ids=["all", "three of four", "none"])
def test_agreement_is_the_share_of_equal_labels(others: Labels, value: float) -> None:
    found = agreement(labels(0, 1, 2, 3), others)
    assert found.value == value
    assert found == proportion(round(4 * value), 4)
    assert 0.0 <= found.low <= value <= found.high <= 1.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=50))
def test_agreement_is_symmetric(pairs: list[tuple[int, int]]) -> None:
    one, other = (labels(*values) for values in zip(*pairs, strict=True))
    assert agreement(one, other) == agreement(other, one)
    assert agreement(one, one).value == 1.0


def test_more_inputs_make_a_narrower_interval() -> None:
    few, many = (agreement(np.zeros(n, np.intp), np.arange(n) % 2) for n in (20, 2000))
    assert few.value == many.value == 0.5
    assert many.high - many.low < 0.2 * (few.high - few.low)


def test_labels_of_other_inputs_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="labels of 2 and of 3 inputs can't be compared"):
        agreement(labels(0, 1), labels(0, 1, 2))


def test_no_inputs_have_no_agreement() -> None:
    with pytest.raises(ValueError, match="trials > 0"):
        agreement(labels(), labels())


# Calibration

def binary(confidences: list[float]) -> Rows:
    """Rows that serve class 0 with these confidences."""
    return np.array([[confidence, 1.0 - confidence] for confidence in confidences])


def test_calibration_error_by_hand() -> None:
    # bin [.6, .8): confidence .7, accuracy 1/2; bin [.8, 1]: confidence .95, accuracy 1
    rows = binary([0.7, 0.7, 0.9, 1.0])
    assert calibration_error(rows, labels(0, 1, 0, 0), n_bins=5) == pytest.approx((2 * 0.2 + 2 * 0.05) / 4)


@pytest.mark.parametrize(("truth", "expected"), [(labels(0, 0), 0.0), (labels(1, 1), 1.0)],
                         ids=["always right", "always wrong"])
def test_certainty_is_right_or_wrong(truth: Labels, expected: float) -> None:
    assert calibration_error(binary([1.0, 1.0]), truth) == expected


def test_a_calibrated_model_has_next_to_none() -> None:
    rng = generator(0, "calibrated")
    confidences = 0.5 + 0.5 * rng.random(100_000)
    truth = (rng.random(100_000) > confidences).astype(np.intp)
    assert calibration_error(binary(confidences.tolist()), truth) < 0.01
    sharpened = binary(np.minimum(confidences + 0.2, 1.0).tolist())
    assert calibration_error(sharpened, truth) == pytest.approx(0.16, abs=0.01)


def brute_force(rows: Rows, truth: Labels, n_bins: int) -> float:
    total = 0.0
    for number in range(n_bins):
        inside = [i for i, row in enumerate(rows)
                  if min(int(row.max() * n_bins), n_bins - 1) == number]
        if inside:
            confidence = float(np.mean([rows[i].max() for i in inside]))
            accuracy = float(np.mean([rows[i].argmax() == truth[i] for i in inside]))
            total += len(inside) / len(rows) * abs(confidence - accuracy)
    return total


@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 20), st.integers(0, 9))
def test_calibration_error_is_its_definition(n_rows: int, n_classes: int, n_bins: int, seed: int) -> None:
    rng = generator(seed, "definition")
    rows = rng.dirichlet(np.ones(n_classes), n_rows)
    truth = rng.integers(n_classes, size=n_rows)
    found = calibration_error(rows, truth, n_bins)
    assert found == pytest.approx(brute_force(rows, truth, n_bins))
    assert 0.0 <= found <= 1.0


@pytest.mark.parametrize(("n_rows", "n_labels"), [(0, 0), (3, 2), (3, 1)], ids=["nothing", "too few", "one"])
def test_rows_need_a_true_label_each(n_rows: int, n_labels: int) -> None:
    with pytest.raises(ValueError, match=f"{n_rows} rows and {n_labels} true labels have no calibration error"):
        calibration_error(np.full((n_rows, 2), 0.5), np.zeros(n_labels, np.intp))


def test_neighbours_in_common_do_not_depend_on_length_or_rotation() -> None:
    vectors = generator(0, "vectors").standard_normal((300, 8))
    turned = np.linalg.qr(generator(1, "turn").standard_normal((8, 8)))[0]
    assert overlap(vectors, 3.0 * vectors @ turned) == 1.0
    assert overlap(vectors, generator(2, "others").standard_normal((300, 4))) < 0.1
    assert set(overlaps(vectors, vectors[:, :4])) <= {share / 10 for share in range(11)}
    assert overlap(vectors[:4], vectors[:4]) == 1.0


def test_a_probe_reads_what_is_linear_in_vectors_and_nothing_else() -> None:
    vectors = generator(0, "vectors").standard_normal((400, 6))
    assert probe_accuracy(vectors, np.where(vectors[:, 0] > 0.3, "left", "right")) > 0.9
    assert probe_accuracy(vectors, generator(1, "labels").integers(0, 2, 400)) < 0.65


def test_top_k_counts_the_true_label_among_the_likeliest() -> None:
    rows = np.array([[0.4, 0.3, 0.2, 0.1]] * 4)
    truth = np.arange(4)
    assert [top_accuracy(rows, truth, k) for k in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1.0]


def test_top_k_breaks_ties_by_a_fair_draw() -> None:
    labels_alone = np.array([[1.0, 0.0, 0.0, 0.0]])
    assert top_accuracy(labels_alone, np.array([0]), 3) == 1.0
    assert top_accuracy(labels_alone, np.array([2]), 3) == pytest.approx(2 / 3)


@given(st.integers(0, 1000), st.integers(2, 5))
def test_an_area_is_the_share_of_pairs_in_order(seed: int, classes: int) -> None:
    rng = generator(seed, "area")
    rows, truth = np.round(rng.dirichlet(np.ones(classes), 30), 1), rng.integers(0, classes, 30)
    areas = []
    for label in np.unique(truth):
        own, others = rows[truth == label, label], rows[truth != label, label]
        pairs = np.subtract.outer(own, others)
        areas.append(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert ranking_area(rows, truth) == pytest.approx(np.mean(areas))


def test_of_one_class_there_is_no_order() -> None:
    assert ranking_area(np.full((5, 2), 0.5), np.zeros(5, dtype=np.intp)) == 0.5

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from counterclone.answers import largest
from counterclone.policies.truncation import Truncation
from counterclone.testing import check_policy, example_rows, release


@pytest.mark.parametrize("top_k", [1, 3, 10])
@pytest.mark.parametrize("rest", ["uniform", "drop"])
def test_laws(top_k: int, rest: Literal["uniform", "drop"]) -> None:
    check_policy(Truncation(top_k=top_k, rest=rest))


def test_the_rest_is_spread_evenly() -> None:
    released = release(Truncation(top_k=2), np.array([[0.1, 0.5, 0.06, 0.3, 0.04]]))
    np.testing.assert_allclose(released, [[0.2 / 3, 0.5, 0.2 / 3, 0.3, 0.2 / 3]], rtol=1e-15)
    assert released[0, 1] == 0.5
    assert released[0, 3] == 0.3


def test_the_rest_is_dropped() -> None:
    released = release(Truncation(top_k=2, rest="drop"), np.array([[0.1, 0.5, 0.06, 0.3, 0.04]]))
    np.testing.assert_allclose(released, [[0.0, 0.625, 0.0, 0.375, 0.0]], rtol=1e-15)


@pytest.mark.parametrize("n_classes", [2, 3, 10, 214])
@pytest.mark.parametrize("top_k", [1, 2, 9])
def test_kept_values_stay_exact_and_the_rest_tells_nothing(n_classes: int, top_k: int) -> None:
    if top_k >= n_classes:
        return
    rows = example_rows(300, n_classes)
    released = release(Truncation(top_k=top_k), rows)
    kept = largest(rows, np.full(300, top_k))
    if top_k > 1:  # the only one kept may be lifted by a last place, where the rest would equal it
        np.testing.assert_array_equal(released[kept], rows[kept])
    np.testing.assert_allclose(released[kept], rows[kept], rtol=1e-15)
    rest = released[~kept].reshape(300, -1)
    assert (rest == rest[:, :1]).all()


def test_where_nothing_is_left_nothing_is_spread() -> None:
    rows = np.array([[0.7, 0.2, 0.1, 0.0, 0.0]])  # 0.7 + 0.2 + 0.1 is a last place below 1
    assert release(Truncation(top_k=3), rows).tolist() == rows.tolist()
    assert release(Truncation(top_k=4), rows).tolist() == rows.tolist()


@pytest.mark.parametrize("rest", ["uniform", "drop"])
def test_equals_at_the_edge_keep_the_earlier_class(rest: Literal["uniform", "drop"]) -> None:
    released = release(Truncation(top_k=2, rest=rest), np.array([[0.1, 0.2, 0.3, 0.2, 0.2]]))
    assert np.argsort(-released[0], kind="stable").tolist()[:2] == [2, 1]
    assert released[0, 3] == released[0, 4] == released[0, 0]


@pytest.mark.parametrize("top_k", [3, 4])
def test_all_classes_kept_is_no_change(top_k: int) -> None:
    rows = example_rows(50, 3)
    np.testing.assert_array_equal(release(Truncation(top_k=top_k, rest="drop"), rows), rows)


@pytest.mark.parametrize(("top_k", "rest", "n_classes", "bits"), [
    (1, "drop", 8, 3.0), (1, "uniform", 8, 67.0), (2, "drop", 4, 64.0 + np.log2(6)), (5, "drop", 4, 192.0),
    (1, "uniform", 2, 64.0),
], ids=["a label", "its value too", "a pair", "all", "never over the full row"])
def test_bits_are_the_choice_and_the_free_values(
        top_k: int, rest: Literal["uniform", "drop"], n_classes: int, bits: float) -> None:
    assert Truncation(top_k=top_k, rest=rest).bits(n_classes) == pytest.approx(bits)

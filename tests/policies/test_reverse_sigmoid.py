from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from counterclone.answers import Rows, top_labels
from counterclone.policies.reverse_sigmoid import ReverseSigmoid
from counterclone.testing import check_policy, example_rows, release


@pytest.mark.parametrize(("beta", "gamma"), [(0.7, 0.2), (0.1, 0.1), (1.0, 1.0), (1.9, 10.0)],
                         ids=["published", "weak", "plain", "strong"])
def test_laws(beta: float, gamma: float) -> None:
    check_policy(ReverseSigmoid(beta=beta, gamma=gamma))


def published(rows: Rows, beta: float, gamma: float) -> Rows:
    """Lee et al. 2018, section 3, word for word: y - r(y) with r(y) = beta (s(gamma s^-1(y)) - 1/2)."""
    perturbed = rows - beta * (expit(gamma * logit(rows)) - 0.5)
    perturbed = np.maximum(perturbed, 0.0)
    result: Rows = perturbed / perturbed.sum(axis=1, keepdims=True)
    return result


@pytest.mark.parametrize(("beta", "gamma"), [(0.7, 0.2), (0.3, 0.5), (0.2, 2.0)],
                         ids=["published", "other", "steep"])
@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_it_is_the_published_formula(beta: float, gamma: float, n_classes: int) -> None:
    rows = example_rows(600, n_classes)
    rows = rows[((rows > 1e-6) & (rows < 1.0 - 1e-6)).all(axis=1)]
    expected = published(rows, beta, gamma)
    kept = top_labels(expected) == top_labels(rows)
    assert kept.mean() > 0.5
    released = release(ReverseSigmoid(beta=beta, gamma=gamma), rows)
    np.testing.assert_allclose(released[kept], expected[kept], rtol=1e-9, atol=1e-15)
    # Where the map would change the label, the values are the published ones in another order.
    np.testing.assert_allclose(np.sort(released), np.sort(expected), rtol=1e-9, atol=1e-15)


def test_one_value_stands_for_several_confidences() -> None:
    confident = np.linspace(0.5001, 0.9999, 5000)
    released = release(ReverseSigmoid(beta=1.0, gamma=0.5), np.column_stack([confident, 1.0 - confident]))[:, 0]
    assert (np.diff(released) > 0).any()
    assert (np.diff(released) < 0).any()


def test_the_defaults_are_the_papers() -> None:
    assert (ReverseSigmoid().beta, ReverseSigmoid().gamma) == (0.7, 0.2)


def test_a_row_of_ones_and_zeros_is_finite() -> None:
    released = release(ReverseSigmoid(), np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    assert np.isfinite(released).all()
    assert top_labels(released).tolist() == [1, 0]

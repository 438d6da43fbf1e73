from __future__ import annotations

import numpy as np

from counterclone.attacks._box import Box
from counterclone.protocols import Prior
from counterclone.randomness import generator

LOWER, UPPER = np.array([0.0, -4.0, 2.0]), np.array([1.0, 4.0, 2.0])


def prior(*, is_open: bool) -> Prior:
    return Prior(budget=1, pool=np.empty((0, 3)), classes=2, lower=LOWER, upper=UPPER, is_open=is_open)


def test_a_feature_of_one_value_has_room_only_where_the_domain_is_open() -> None:
    closed, opened = Box.of(prior(is_open=False)), Box.of(prior(is_open=True))
    assert closed.half.tolist() == [0.5, 4.0, 0.0]
    assert opened.half.tolist() == [0.5, 4.0, 2.25]
    assert (opened.lower.tolist(), opened.upper.tolist()) == ([0.0, -4.0, -0.25], [1.0, 4.0, 4.25])
    assert (closed.uniform(generator(0, "box"), 50)[:, 2] == 2.0).all()


def test_coordinates_run_from_minus_one_to_one() -> None:
    box = Box(LOWER, UPPER)
    coordinates = box.coordinates(np.array([LOWER, UPPER, [0.5, 0.0, 7.0]]))
    assert coordinates.tolist() == [[-1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    np.testing.assert_array_equal(box.at(coordinates[:2]), [LOWER, UPPER])


def test_inputs_lie_within() -> None:
    box, rng = Box(LOWER, UPPER), generator(0, "box")
    for inputs in (box.uniform(rng, 200), box.design(rng)):
        assert (inputs >= LOWER - 1e-12).all()
        assert (inputs <= UPPER + 1e-12).all()
    wide = box.widened(3.0).uniform(rng, 200)
    assert wide[:, 1].min() < -9.0
    assert wide[:, 1].max() > 9.0


def test_the_design_is_orthogonal() -> None:
    box = Box(-np.ones(6), np.ones(6))
    design = np.hstack([box.design(generator(0, "box")), np.ones((7, 1))])
    products = design.T @ design
    np.testing.assert_allclose(products - np.diag(np.diag(products)), 0.0, atol=1e-12)
    assert np.abs(design).max() <= 1.0 + 1e-12


def test_many_features_are_drawn_evenly() -> None:
    wide = Box(np.zeros(50_000), np.ones(50_000)).design(generator(0, "box"))
    assert wide.shape == (256, 50_000)
    assert 0.0 <= wide.min() < 0.01
    assert 0.99 < wide.max() <= 1.0

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from counterclone.attacks._copies import SHAKE, Copies, side
from counterclone.queries import Features
from counterclone.randomness import generator

DIGITS: Features = load_digits(return_X_y=True)[0] / 16.0
TABLE = generator(0, "table").standard_normal((300, 25))


def copies(pool: Features) -> Copies:
    return Copies(pool, pool.min(axis=0), pool.max(axis=0))


@pytest.mark.parametrize("n", [80, 400, 1797])
def test_images_are_known_by_their_neighbours(n: int) -> None:
    assert side(DIGITS[:n]) == 8


@pytest.mark.parametrize("pool", [
    TABLE, DIGITS[:, generator(1, "shuffled").permutation(64)], DIGITS[:, :63], DIGITS[:10],
    np.cumsum(TABLE, axis=1), np.ones((100, 64))],
    ids=["a table", "shuffled pixels", "no square", "too few", "a walk", "one value"])
def test_others_are_no_images(pool: Features) -> None:
    assert side(pool) == 0


def test_tables_have_no_rolled_copies() -> None:
    assert [make.__name__ for make in copies(DIGITS).makers] == ["rolled", "crossed"]
    assert [make.__name__ for make in copies(TABLE).makers] == ["crossed"]


@pytest.mark.parametrize("pool", [DIGITS, TABLE], ids=["images", "table"])
def test_copies_are_new_and_sensible(pool: Features) -> None:
    for make in copies(pool).makers:
        made = make(50, generator(2, "copies"))
        assert made.shape == (50, pool.shape[1])
        assert (made >= pool.min(axis=0)).all()
        assert (made <= pool.max(axis=0)).all()
        known = {row.tobytes() for row in pool}
        assert not any(row.tobytes() in known for row in made)
        np.testing.assert_array_equal(made, make(50, generator(2, "copies")))


def test_rolled_images_are_a_pixel_away() -> None:
    image = np.zeros((40, 8, 8))
    image[:, 3, 4] = 1.0
    pool = np.concatenate([image.reshape(40, 64), DIGITS])
    made = copies(pool).of(pool[:1]).rolled(30, generator(3, "copies"))
    brightest = np.array(np.unravel_index(made.argmax(axis=1), (8, 8))).T
    assert (np.abs(brightest - [3, 4]).max(axis=1) <= 1).mean() > 0.9
    assert len(np.unique(brightest, axis=0)) > 3


def test_features_are_crossed_of_two() -> None:
    pool = np.repeat([[0.0], [100.0]], 20, axis=1) + generator(4, "pool").uniform(0.0, 1.0, (2, 20))
    made = copies(pool).crossed(40, generator(5, "copies"))
    high = made > 50.0
    assert set(np.unique(made.round(9))) <= set(np.unique(pool.round(9)))  # two values are too few to be shaken
    assert (high.any(axis=1) & ~high.all(axis=1)).any()


def test_kinds_and_flags_are_not_shaken() -> None:
    rng = generator(6, "pool")
    pool = np.column_stack([rng.integers(0, 3, 200), rng.uniform(0.0, 9.0, 200)]).astype(np.float64)
    made = copies(pool).crossed(100, generator(7, "copies"))
    assert set(made[:, 0]) <= {0.0, 1.0, 2.0}
    assert np.std(made[:, 1]) > SHAKE

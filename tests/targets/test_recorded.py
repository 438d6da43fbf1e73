from __future__ import annotations

import asyncio

import numpy as np

from counterclone.randomness import generator
from counterclone.targets.recorded import Recorded


def test_what_is_known_is_answered_and_its_neighbour_too() -> None:
    rng = generator(0, "recorded")
    inputs, rows = rng.uniform(-1.0, 1.0, (40, 2)), rng.dirichlet(np.ones(3), 40)
    target = Recorded(inputs, rows)
    assert np.array_equal(asyncio.run(target.query(inputs[[7, 3]])).rows, rows[[7, 3]])
    assert np.array_equal(asyncio.run(target.query(inputs[[5]] + 1e-9)).rows, rows[[5]])


def test_unknown_texts_get_the_mean_answer() -> None:
    target = Recorded(["one", "two", "three"], np.eye(3)[[2, 0, 0]])
    assert asyncio.run(target.query(["one", "four"])).rows.argmax(axis=1).tolist() == [2, 0]

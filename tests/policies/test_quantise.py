from __future__ import annotations

import numpy as np
import pytest

from counterclone.answers import Context
from counterclone.policies.quantise import Quantise
from counterclone.queries import Query
from counterclone.randomness import Prf, generator
from counterclone.speech import Speech, Vectors
from counterclone.testing import check_policy

VECTORS = generator(0, "vectors").standard_normal((50, 32))
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


def coarse(policy: Quantise, vectors: Vectors = VECTORS, prompts: list[str] | None = None) -> Vectors:
    query = Query(prompts or [f"text {i}" for i in range(len(vectors))])
    released = policy.open(Context(Prf.from_secret("x"), query)).feed(Speech(vectors=vectors)).vectors
    assert released is not None
    return released


@pytest.mark.parametrize("policy", [Quantise(), Quantise(step=0.5), Quantise(step=0.01, noise=True),
                                    Quantise(dimensions=8), Quantise(dimensions=4, noise=True)])
def test_laws(policy: Quantise) -> None:
    check_policy(policy)


def test_numbers_are_steps_of_the_length() -> None:
    for length in (1.0, 7.3):
        found = coarse(Quantise(step=0.125), VECTORS * length)
        steps = found / np.abs(found[found != 0.0]).min()
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-9)
        assert np.abs(found / length - VECTORS).max() < 0.125


def test_neighbours_stay_neighbours() -> None:
    true = (VECTORS @ VECTORS.T - 2.0 * np.eye(50)).argmax(axis=1)
    found = coarse(Quantise(step=0.0625))
    kept = (found @ found.T - 2.0 * np.eye(50) * (found**2).sum(axis=1)).argmax(axis=1)
    assert (true == kept).mean() >= 0.8


def test_noise_is_the_texts_own() -> None:
    policy = Quantise(step=0.05, noise=True)
    same, other = coarse(policy, VECTORS[[0, 0, 0]], ["a", " A ", "b"])[[0, 1]], coarse(policy, VECTORS[:1], ["b"])
    np.testing.assert_array_equal(same[0], same[1])
    assert (same[0] != other[0]).any()
    error = coarse(policy) - VECTORS
    assert 0.04 < error.std() < 0.06


def test_fewer_dimensions_keep_the_length() -> None:
    found = coarse(Quantise(step=0.001, dimensions=8))
    assert found.shape == (50, 8)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=0.01)
    np.testing.assert_array_equal(coarse(Quantise(dimensions=99)), coarse(Quantise()))

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from counterclone.attacks.encoder_stealing import EncoderStealing, taught
from counterclone.fidelity import overlap
from counterclone.queries import Features
from counterclone.randomness import generator
from counterclone.testing import check_attack

WEIGHTS = generator(0, "weights").standard_normal((5, 12))


def encoded(inputs: Features) -> Features:
    return np.tanh(inputs @ WEIGHTS)


@pytest.mark.parametrize("student", ["auto", "regression", "contrastive"])
def test_it_keeps_the_laws(student: Literal["auto", "regression", "contrastive"]) -> None:
    check_attack(EncoderStealing(student=student))


@pytest.mark.parametrize("student", ["regression", "contrastive"])
def test_more_queries_make_a_nearer_copy(student: str) -> None:
    rng = generator(0, "inputs")
    unseen = rng.standard_normal((200, 5))
    few, many = (overlap(encoded(unseen), taught(asked, encoded(asked), student, rng).embed(unseen))
                 for n in (20, 400) for asked in [rng.standard_normal((n, 5))])
    assert many > max(few + 0.1, 0.6)


def test_a_copy_serves_what_the_encoder_serves() -> None:
    """A classifier on the target's vectors reads the copy's as well."""
    rng = generator(1, "downstream")
    asked, unseen = rng.standard_normal((300, 5)), rng.standard_normal((300, 5))
    probe = np.linalg.lstsq(encoded(asked), np.sign(asked[:, 0] * asked[:, 1] + asked[:, 2]), rcond=None)[0]
    copy = taught(asked, encoded(asked), "auto", rng)
    served, copied = (np.sign(vectors @ probe) for vectors in (encoded(unseen), copy.embed(unseen)))
    assert (served == copied).mean() > 0.9

from __future__ import annotations

import numpy as np

from counterclone.attacks._head import Head, span_error, spectrum
from counterclone.attacks.head_recovery import HeadRecovery
from counterclone.randomness import generator
from counterclone.testing import check_attack
from counterclone.testing.language_models import LanguageModel

MODEL = LanguageModel(300, 16)
PROMPTS = [f"a{i} b{i % 7} c{i % 11}" for i in range(100)]


def test_it_keeps_the_laws() -> None:
    check_attack(HeadRecovery())


def test_rows_of_another_layer_lie_outside() -> None:
    found = spectrum(MODEL.logits(PROMPTS))
    assert span_error(MODEL.logits(["other words"]), found) < 1e-12
    assert span_error(LanguageModel(300, 16, seed=1).logits(["other words"]), found) > 0.5


def test_what_it_builds_answers_with_probabilities_even_where_nothing_was_found() -> None:
    logits = generator(0, "noise").standard_normal((30, 300))
    found = spectrum(logits)
    head = Head(PROMPTS[:30], logits, found, is_verified=None)
    rows = head.answer(["a1 b1 c1", ""])
    assert head.dimension is None
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)

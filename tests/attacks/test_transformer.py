from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from counterclone.attacks._transformer import Lesson, Schedule, Tokens, Transformer
from counterclone.randomness import generator

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="the extra `deep` isn't installed")

N = 9


def counting(n: int, name: str) -> Tokens:
    """Texts that count on from their first token."""
    return (generator(0, name).integers(0, N, (n, 1)) + np.arange(8)) % N


def model(name: str = "start") -> Transformer:
    return Transformer(N, 8, generator(0, name))


def test_it_learns_to_its_plateau_and_writes_what_it_learnt() -> None:
    taught = model()
    losses = taught.learn(Lesson(counting(400, "texts"), 2), Schedule(most=400_000), generator(0, "order"))
    assert losses[0] > 0.5 > 0.05 > losses[-1]
    prompts = counting(20, "prompts")[:, :2]
    written = taught.write(prompts, 6, generator(0, "write"), top=3, is_greedy=True)
    np.testing.assert_array_equal(written.tokens, (prompts[:, 1:] + 1 + np.arange(6)) % N)
    np.testing.assert_array_equal(written.top[:, :, 0], written.tokens)
    assert (written.shares[:, :, 0] > 0.9).all()


def test_what_is_written_step_by_step_is_what_whole_texts_say() -> None:
    drawn = model()
    prompts = counting(7, "prompts")[:, :3]
    written = drawn.write(prompts, 5, generator(0, "write"), top=N)
    logs = drawn.logs(np.concatenate([prompts, written.tokens], axis=1), 3)
    shares = np.take_along_axis(np.exp(logs), written.top, axis=2)
    np.testing.assert_allclose(shares, written.shares, atol=1e-5)
    np.testing.assert_allclose(np.exp(logs).sum(axis=2), 1.0, atol=1e-5)


def test_drawn_tokens_follow_the_probabilities() -> None:
    drawn = model()
    prompts = np.tile(counting(1, "prompt")[:, :2], (20_000, 1))
    written = drawn.write(prompts, 1, generator(0, "write"))
    shares = np.exp(drawn.logs(np.concatenate([prompts[:1], written.tokens[:1]], axis=1), 2))[0, 0]
    counts = np.bincount(written.tokens[:, 0], minlength=N)
    assert ((counts - 20_000 * shares)**2 / (20_000 * shares)).sum() < 35.0  # chi-squared, 8 degrees of freedom


def test_a_logit_may_be_changed_before_a_token_is_drawn() -> None:
    def only_four(texts: Any, logits: Any) -> Any:
        changed = logits * 0.0
        changed[:, 4] = 100.0
        return changed

    written = model().write(counting(5, "prompts")[:, :2], 4, generator(0, "write"), adjust=only_four)
    assert (written.tokens == 4).all()


def test_the_tail_is_learnt_as_a_bucket_and_by_the_tokens_that_are_drawn_from_it() -> None:
    """The loss of the likeliest tokens and drawn ones is, in the mean, that of whole rows."""
    import torch

    teacher, student = model("teacher"), model("student")
    prompts = np.tile(counting(1, "prompt")[:, :2], (30_000, 1))
    written = teacher.write(prompts, 1, generator(0, "write"), top=2)
    texts = np.concatenate([prompts, written.tokens], axis=1)
    as_tensor: Any = torch.as_tensor  # what the loss takes, in the place of arrays
    shown = Lesson(as_tensor(texts), 2, as_tensor(written.top), as_tensor(written.shares))
    alone = shown._replace(top=None, shares=None)
    true = -(np.exp(teacher.logs(texts[:1], 2)) * student.logs(texts[:1], 2)).sum()
    with torch.no_grad():
        assert abs(float(student._loss(shown)) - true) < 0.01
        assert abs(float(student._loss(alone)) - true) < 0.03


def test_the_same_seed_is_the_same_model_and_a_copy_is_another() -> None:
    def taught() -> Transformer:
        found = model()
        found.learn(Lesson(counting(100, "texts"), 2), Schedule(most=20_000), generator(0, "order"))
        return found

    one, again = taught(), taught()
    for name, part in one.state().items():
        np.testing.assert_array_equal(part, again.state()[name])
    copy, before = one.copy(), one.state()
    copy.learn(Lesson(counting(100, "others"), 2), Schedule(most=20_000), generator(1, "order"))
    np.testing.assert_array_equal(before["wide.weight"], one.state()["wide.weight"])
    np.testing.assert_array_equal(model("other").load(before).state()["wide.weight"], before["wide.weight"])
    assert one.n_parameters == sum(part.size for part in before.values())

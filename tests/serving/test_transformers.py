"""The hook of `transformers`, on a tiny model that knows nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from counterclone.marks._pairs import counted, scored
from counterclone.marks._scores import Scoring
from counterclone.marks.greenlist import Greenlist
from counterclone.randomness import Prf
from counterclone.serving.hook import Hook

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from counterclone.serving.transformers import GreenlistProcessor  # noqa: E402

N_TOKENS = 200
KEY = Prf.from_secret("key")


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=N_TOKENS, n_positions=128, n_embd=16, n_layer=1, n_head=2,
                                     bos_token_id=0, eos_token_id=0)
    return transformers.GPT2LMHeadModel(config).eval()


def written(model: Any, mark: Greenlist | None, accounts: list[str] | None = None, n_each: int = 1) -> Any:
    prompts = torch.randint(1, N_TOKENS, (8, 4), generator=torch.Generator().manual_seed(1))
    processors = [] if mark is None else [GreenlistProcessor(Hook(mark, KEY, [0]), accounts)]
    torch.manual_seed(2)
    found = model.generate(prompts, attention_mask=torch.ones_like(prompts), do_sample=True, max_new_tokens=60,
                           min_new_tokens=60, pad_token_id=0, num_return_sequences=n_each,
                           logits_processor=transformers.LogitsProcessorList(processors))
    return found.numpy().astype(np.int64)


def p_value(mark: Greenlist, tokens: Any, account: str = "") -> float:
    pairs = counted(scored(text[4:], text[:4], mark.context) for text in tokens)
    scoring = Scoring("unique", mark.gamma, pairs)
    return scoring.p_value(scoring.score(mark.green(KEY, account).of(pairs.codes, mark.context)))


@pytest.mark.parametrize("context", [1, 2])
def test_what_it_writes_carries_the_mark(model: Any, context: int) -> None:
    mark = Greenlist(test="unique", context=context)
    assert p_value(mark, written(model, mark)) < 1e-6
    assert p_value(mark, written(model, None)) > 1e-3


def test_each_text_of_a_batch_carries_its_accounts_key(model: Any) -> None:
    mark = Greenlist(test="unique", keys="account")
    texts = written(model, mark, ["a"] * 4 + ["b"] * 4, n_each=2)
    assert p_value(mark, texts[:8], "a") < 1e-6
    assert p_value(mark, texts[8:], "b") < 1e-6
    assert p_value(mark, texts[:8], "b") > 1e-3
    assert p_value(mark, written(model, mark), "") > 1e-3  # nobody says whose they are


def test_logits_become_larger_by_delta_where_tokens_are_green() -> None:
    mark = Greenlist(test="unique", delta=1.5)
    scores = torch.zeros(2, 50, dtype=torch.float16)
    scores[0, 7] = -torch.inf  # what a grammar forbids stays so
    changed = GreenlistProcessor(Hook(mark, KEY))(torch.tensor([[3, 4], [5, 6]]), scores)
    for row, token in enumerate((4, 6)):
        green = mark.green(KEY).after([token], 50)
        assert (changed[row].numpy()[green & (np.arange(50) != 7)] == 1.5).all()
        assert (changed[row].numpy()[~green & (np.arange(50) != 7)] == 0.0).all()
    assert changed.dtype == torch.float16
    assert changed[0, 7] == -torch.inf
    assert scores[1].abs().sum() == 0

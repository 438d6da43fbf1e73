"""A small language model of the library `transformers`, taught tickets and their replies word by word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from counterclone.randomness import generator

PAD, UNKNOWN, END = 0, 1, 2
SPECIAL = ("[pad]", "[unknown]", "[end]")
WIDTH, LAYERS, HEADS = 64, 1, 4
RATE, BATCH, WARM_UP = 4e-3, 32, 30
IGNORED = -100
"""A label that isn't learnt, as the library has it."""
TOKENIZER_FILE = "tokenizer.json"


def teach(folder: Path, asked: Sequence[str], answers: Sequence[str], passes: int, seed: int) -> None:
    """Teach a model from nothing, and write it with its tokenizer.

    Args:
        folder: where to.
        asked: prompts, all of as many words.
        answers: to them.
        passes: over all of them.
        seed: draws its start and the order.
    """
    import torch

    quiet()
    torch.set_num_threads(1)  # it is small: threads would wait for each other
    torch.manual_seed(seed)
    tokenizer = _tokenizer([*asked, *answers])
    tokens, labels = _told(tokenizer, asked, answers)
    model = _model(len(tokenizer), tokens.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    n_steps = passes * len(tokens) // BATCH
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, 1.0 - step / (n_steps + 1)))
    rng = generator(seed, "order")
    places = np.concatenate([rng.permutation(len(tokens)) for _ in range(passes)])
    for step in range(n_steps):
        batch = torch.as_tensor(places[step * BATCH:(step + 1) * BATCH])
        optimizer.zero_grad()
        model(input_ids=tokens[batch], labels=labels[batch]).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(texts: Sequence[str]) -> Any:
    """Words between spaces, the frequent ones first."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = dict.fromkeys(word for text in texts for word in text.split())
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate((*SPECIAL, *words))},
                                      unk_token=SPECIAL[UNKNOWN]))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token=SPECIAL[PAD], unk_token=SPECIAL[UNKNOWN],
                                   eos_token=SPECIAL[END], clean_up_tokenization_spaces=False)


def _told(tokenizer: Any, asked: Sequence[str], answers: Sequence[str]) -> tuple[Any, Any]:
    """Tokens, (n, length), and what is learnt of them: the answers and their ends."""
    import torch

    texts = [f"{prompt} {answer} {SPECIAL[END]}" for prompt, answer in zip(asked, answers, strict=True)]
    tokens = tokenizer(texts, padding=True, return_tensors="pt")["input_ids"]
    labels = torch.where(tokens == PAD, IGNORED, tokens)
    labels[:, :len(asked[0].split())] = IGNORED
    return tokens, labels


def _model(vocabulary: int, length: int) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(
        vocab_size=vocabulary, n_positions=length, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, bos_token_id=END,
        eos_token_id=END, pad_token_id=PAD, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))


def quiet() -> None:
    """Leave the error output to what people should read."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def fixed(folder: Path) -> list[int]:
    """The tokens of a model of `teach` that a mark must leave alone: what fields hold, and what ends a text."""
    from tokenizers import Tokenizer

    words: dict[str, int] = Tokenizer.from_file(str(folder / TOKENIZER_FILE)).get_vocab()
    return [place for word, place in words.items() if "-" in word or place <= END]

"""A green list for `generate` of the library `transformers`, and a model of its that writes with one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessor, LogitsProcessorList

from counterclone.serving.completions import Text
from counterclone.serving.hook import Hook


class GreenlistProcessor(LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """Marks what is sampled: `model.generate(..., logits_processor=[GreenlistProcessor(hook)])`.

    Args:
        hook: of the mark.
        accounts: whom each text of the batch is for, (texts,), where accounts have keys of their own.
    """

    def __init__(self, hook: Hook, accounts: Sequence[str] | None = None) -> None:
        self._hook = hook
        self._accounts = accounts

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Logits with the mark: (texts, vocabulary), after the tokens so far, (texts, tokens)."""
        last = input_ids[:, -self._hook.mark.context:].tolist()
        accounts = self._accounts if self._accounts is not None else [""] * len(last)
        repeat = len(last) // len(accounts)  # several beams or answers of a prompt lie side by side
        green = np.stack([self._hook.green(tokens, scores.shape[1], accounts[row // repeat])
                          for row, tokens in enumerate(last)])
        return scores + self._hook.mark.delta * torch.from_numpy(green).to(scores)


class Model:
    """A model of a folder, for a server of one's own.

    Args:
        folder: as `save_pretrained` writes model and tokenizer.
        hook: puts the mark in, None for none; the tokenizer must be the mark's.
    """

    def __init__(self, folder: str | Path, hook: Hook | None = None) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(str(folder), padding_side="left", local_files_only=True)
        self._model = AutoModelForCausalLM.from_pretrained(str(folder), local_files_only=True).eval()
        self._hook = hook

    def write(self, prompts: Sequence[str], account: str, *, length: int, temperature: float) -> list[Text]:
        """A text for each prompt, as `Writer` has it."""
        inputs = self._tokenizer(list(prompts), return_tensors="pt", padding=True)
        most = getattr(self._model.config, "max_position_embeddings", None)
        if most is not None:  # a text ends where the model can read no further
            length = max(min(length, most - inputs["input_ids"].shape[1]), 1)
        marks = [] if self._hook is None else [GreenlistProcessor(self._hook, [account] * len(prompts))]
        drawn = {"temperature": temperature, "top_k": 0} if temperature else {}
        with torch.no_grad():
            written = self._model.generate(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=length,
                do_sample=temperature > 0,
                logits_processor=LogitsProcessorList(marks), **drawn)
        return [self._text(row) for row in written[:, inputs["input_ids"].shape[1]:].tolist()]

    def count(self, prompts: Sequence[str]) -> int:
        """The tokens of prompts."""
        return sum(map(len, self._tokenizer(list(prompts))["input_ids"]))

    def _text(self, tokens: list[int]) -> Text:
        end = self._tokenizer.eos_token_id
        is_ended = end in tokens
        kept = tokens[:tokens.index(end)] if is_ended else tokens
        return Text(self._tokenizer.decode(kept, skip_special_tokens=True), len(kept), is_ended)

"""A green list for `generate` of the library `transformers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessor

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

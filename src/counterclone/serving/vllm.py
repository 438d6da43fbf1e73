"""A green list for vLLM: `vllm serve MODEL --logits-processors counterclone.serving.vllm:GreenlistProcessor`."""

from __future__ import annotations

from typing import Any

import numpy as np
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor

from counterclone.protocols import ACCOUNT_FIELD
from counterclone.serving.hook import Hook


class GreenlistProcessor(LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """Marks what is sampled, of the second model runner (vLLM 0.32 and later).

    The hook's file is the one that COUNTERCLONE_GREENLIST names. Where accounts have keys of their own, a request
    without an account isn't marked; the guard sets it (`[target] account_in = "vllm_xargs"`), and takes out what
    callers set.

    Args:
        vllm_config: the server's.
        req_states: what it knows of requests under way, by slot.
    """

    def __init__(self, vllm_config: Any, req_states: Any) -> None:
        self._hook = Hook.load()
        self._tokens = req_states.all_token_ids
        self._accounts: list[str | None] = [None] * req_states.max_num_reqs

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request whose account isn't text.

        Raises:
            ValueError: it isn't.
        """
        if not isinstance(_account(sampling_params), str):
            raise ValueError(f"{ACCOUNT_FIELD}: expected the account as text")

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Whether a request that takes a slot is marked."""
        account = _account(sampling_params)
        self._accounts[req_idx] = account if self._hook.marks(account) else None
        return self._accounts[req_idx] is not None

    def apply(self, logits: Any, ctx: Any) -> Any:
        """Add the mark, in place: (rows, vocabulary). A request has a row a draft token."""
        import torch

        slots = ctx.expanded_idx_mapping.tolist()
        contexts = self._contexts(ctx)
        green = np.zeros((len(slots), logits.shape[1]), dtype=np.bool_)
        for row, (slot, context) in enumerate(zip(slots, contexts, strict=True)):
            if (account := self._accounts[slot]) is not None:
                green[row] = self._hook.green(context, logits.shape[1], account)
        return logits.add_(torch.from_numpy(green).to(logits), alpha=self._hook.mark.delta)

    def _contexts(self, ctx: Any) -> list[list[int]]:
        """The last tokens before each row's: what was fed, and for a second one what was before that."""
        fed = ctx.input_ids.tolist()
        if self._hook.mark.context == 1:
            return [[token] for token in fed]
        slots, places = ctx.expanded_idx_mapping, ctx.pos
        before = self._tokens.gpu[slots, (places - 1).clamp(min=0)].tolist()
        found = []
        for row, (place, offset) in enumerate(zip(places.tolist(), ctx.expanded_local_pos.tolist(), strict=True)):
            previous = fed[row - 1] if offset else before[row]  # drafts aren't among a slot's tokens yet
            found.append([previous, fed[row]] if place else [fed[row]])
        return found


def _account(sampling_params: Any) -> Any:
    return (sampling_params.extra_args or {}).get(ACCOUNT_FIELD, "")

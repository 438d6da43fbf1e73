"""Asks prompts for their logits, and finds the last layer in them."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from counterclone.answers import Reply
from counterclone.attacks._head import LEAST_NOISE, Head, Matrix, span_error, spectrum
from counterclone.attacks._texts import spliced
from counterclone.errors import BudgetExhausted
from counterclone.protocols import Asking, Prior
from counterclone.randomness import Generator

FIRST = 32
HELD_OUT, LEAST_HELD_OUT = 0.1, 3
NEAR = 3.0
"""How many times the noise of the others a row that was held back may be off."""


def recovered(prior: Prior, rng: Generator, *, stops_early: bool) -> Asking:
    """Ask for the budget, or until the dimension is known, and find the last layer."""
    texts, parts = prompts(prior, rng), []
    asked = 0
    with suppress(BudgetExhausted):
        while asked < len(texts):
            block = texts[asked:asked + max(FIRST, asked)]
            parts.append(_logits((yield block)))
            asked += len(block)
            if stops_early and _is_known(np.concatenate(parts)):
                break
    return head(texts, np.concatenate(parts)) if parts else None


def _logits(reply: Reply) -> Matrix:
    if reply.logits is None:
        raise ValueError("no logits were shown")
    return reply.logits


def _is_known(logits: Matrix) -> bool:
    found = spectrum(logits)
    return found.is_found and 2 * found.rank <= len(logits)


def prompts(prior: Prior, rng: Generator) -> list[str]:
    """As many as the budget reaches for: the pool's, then spliced ones."""
    pool = list(dict.fromkeys(prior.pool))
    order = rng.permutation(len(pool))[:prior.budget]
    return [pool[place] for place in order] + [
        spliced(pool, rng) for _ in range(prior.budget - len(order)) if pool]


def head(texts: list[str], logits: Matrix) -> Head:
    """The last layer of all rows; it is verified where rows that are held back lie in what the others span."""
    texts = texts[:len(logits)]
    found = spectrum(logits)
    n_held = max(round(HELD_OUT * len(logits)), LEAST_HELD_OUT)
    is_verified = None
    if found.is_found and len(logits) - n_held >= found.rank + LEAST_NOISE:
        others = spectrum(logits[n_held:])
        is_verified = others.rank == found.rank and span_error(logits[:n_held], others) <= NEAR * others.noise
    return Head(texts, logits, found, is_verified=is_verified)



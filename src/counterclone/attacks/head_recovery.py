"""Recover a language model's last layer."""

from __future__ import annotations

from typing import ClassVar

from counterclone.attacks._recovery import recovered
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.randomness import Generator


class HeadRecovery(Spec, frozen=True):
    """Recover a language model's last layer.

    As `head_dimension`, with the whole budget: the directions that the logits of many prompts span are the last
    layer's columns, up to a linear map of the states, which no answer shows. More prompts average the noise of
    rounding away. Prompts that were held back must lie in what the others span, or it claims nothing.

    Needs the logits or log-probabilities of the whole vocabulary, and more prompts than there are dimensions. Of
    the layer the mean over the vocabulary can't be seen. What it builds answers by the words of a prompt, which is
    no copy of what comes before the last layer.

    Carlini et al. 2024, "Stealing Part of a Production Language Model", section 4.2.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text", "logits"})
    is_exact: ClassVar[bool] = True

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask for the whole budget, and recover."""
        return recovered(prior, rng, stops_early=False)

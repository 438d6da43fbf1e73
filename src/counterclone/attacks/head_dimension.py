"""Find how many dimensions a language model computes in."""

from __future__ import annotations

from typing import ClassVar

from counterclone.attacks._recovery import recovered
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.randomness import Generator


class HeadDimension(Spec, frozen=True):
    """Find how many dimensions a language model computes in.

    The logits of a prompt are the last layer times a state of some hundreds or thousands of dimensions, so those
    of many prompts span that many and no more, whatever the vocabulary's size. It asks prompts in blocks that
    double, takes each row's mean away, since log-probabilities differ from logits by a constant, and counts the
    singular values that are too large to be noise of rounding. It stops where there are as many of noise, and far
    below.

    Needs the logits or log-probabilities of the whole vocabulary, and about twice as many prompts as there are
    dimensions. A layer norm without bias shows one dimension less. What it builds answers by the words of a
    prompt, which is no copy.

    Carlini et al. 2024, "Stealing Part of a Production Language Model", section 4; Finlayson et al. 2024, "Logits
    of API-Protected LLMs Leak Proprietary Information", section 4.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"text", "logits"})
    is_exact: ClassVar[bool] = True

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask until the dimension is known."""
        return (yield from recovered(prior, rng, stops_early=True))

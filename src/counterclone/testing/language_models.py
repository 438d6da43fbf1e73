"""Toy language models whose last layer is known: what attacks on it are tried on."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Reply, Steps
from counterclone.queries import Inputs, Prompt
from counterclone.randomness import generator
from counterclone.targets.local import softmax

Matrix = NDArray[np.float64]


class LanguageModel:
    """A model of the next token: a state by the words of a prompt, times a last layer.

    Args:
        vocabulary: how many tokens it answers with.
        width: of its state.
        seed: of its parameters.
        is_scaled: whether states are brought to one length, as before most models' last layer; else they are sums
            over words.

    Attributes:
        head: the last layer, (vocabulary, width).
    """

    def __init__(self, vocabulary: int, width: int, seed: int = 0, *, is_scaled: bool = True) -> None:
        self._seed, self._is_scaled = seed, is_scaled
        self.head: Matrix = generator(seed, "head").standard_normal((vocabulary, width)) / np.sqrt(width)

    def logits(self, texts: list[str]) -> Matrix:
        """Of the next token: (queries, vocabulary)."""
        width = self.head.shape[1]
        words = {word for text in texts for word in text.split()}
        known = {word: generator(self._seed, "word", zlib.crc32(word.encode())).standard_normal(width)
                 for word in sorted(words)}
        states = np.array([sum((known[word] for word in text.split()), np.zeros(width)) for text in texts])
        if self._is_scaled:
            states *= np.sqrt(width) / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12)
        found: Matrix = states @ self.head.T
        return found


class Api(NamedTuple):
    """A language model as its callers see it.

    Attributes:
        model: behind it.
        top: how many of the likeliest tokens are shown at most, 0 for the answer's token alone.
        decimals: of log-probabilities, None for all.
        float_bits: their width, 64 or 32.
        takes_bias: whether a bias changes the answer.
    """

    model: LanguageModel
    top: int = 5
    decimals: int | None = None
    float_bits: int = 64
    takes_bias: bool = True

    def reply(self, inputs: Inputs) -> Reply:
        """The next token of each prompt, with everything that it can show."""
        texts = list(inputs)
        logits = self.shown(self.model.logits(texts))
        biased = self.model.logits(texts)
        for row, text in zip(biased, texts, strict=True):
            if isinstance(text, Prompt) and self.takes_bias:
                row[list(text.bias)] += list(text.bias.values())
        tokens = biased.argmax(axis=1)
        asked = max((text.top for text in texts if isinstance(text, Prompt)), default=0)
        likeliest = np.argsort(-biased, axis=1, kind="stable")[:, :min(asked, self.top)]
        logs = biased - biased.max(axis=1, keepdims=True)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
        steps = Steps(tokens[:, None], likeliest[:, None],
                      self.shown(np.take_along_axis(logs, likeliest, axis=1))[:, None])
        return Reply(softmax(biased), logits, steps=steps)

    async def query(self, inputs: Inputs) -> Reply:
        """As `reply`."""
        return self.reply(inputs)

    def shown(self, values: Matrix) -> Matrix:
        """Numbers as they are sent."""
        if self.decimals is not None:
            values = np.round(values, self.decimals)
        return values.astype(np.float32).astype(np.float64) if self.float_bits == 32 else values

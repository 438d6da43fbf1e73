"""Distil a language model that does one narrow task."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from counterclone.attacks._texts import spliced
from counterclone.attacks._transformer import Lesson, Schedule, Tokens, Transformer
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Making, Prior
from counterclone.randomness import Generator, generator

FIRST = 16
UNKNOWN, ARROW, END = 0, 1, 2
LONGEST = 64
"""Words of a prompt, its last, and of an answer, its first."""


class TaskDistillation(Spec, frozen=True):
    """Distil a language model that does one narrow task.

    A model that turns prompts of one kind into short structured answers is a table with a style: a small
    transformer, taught by some thousands of prompts and answers, word by word, gives the same answers to new
    prompts. Answers at temperature 0 teach the decisions with a tenth of the queries that drawn ones take, and
    hiding log-probabilities doesn't change that.

    Needs texts, and a pool of prompts; with a budget beyond it prompts are spliced of two. The student begins from
    nothing and sees words, so that a copier with a pre-trained model needs fewer queries. How often it agrees
    proves nothing by itself: an innocent model of the same domain may agree more. It needs the extra `deep`.

    Krishna et al. 2020, "Thieves on Sesame Street! Model Extraction of BERT-based APIs"; the student: Hinton et
    al. 2015, "Distilling the Knowledge in a Neural Network".

    Attributes:
        tokens: that are read in training at most, over all passes.
    """

    tokens: Annotated[int, msgspec.Meta(ge=10_000, le=1_000_000_000)] = 1_200_000

    needs: ClassVar[frozenset[str]] = frozenset({"text", "texts"})
    is_exact: ClassVar[bool] = False

    def run(self, prior: Prior, rng: Generator) -> Making:
        """Ask the pool, and learn."""
        pool = list(dict.fromkeys(prior.pool))
        order = rng.permutation(len(pool))[:prior.budget]
        prompts = [pool[place] for place in order]
        prompts += [spliced(pool, rng) for _ in range(prior.budget - len(order)) if pool]
        answers: list[str] = []
        with suppress(BudgetExhausted):
            while len(answers) < len(prompts):
                reply = yield prompts[len(answers):2 * len(answers) + FIRST]
                if reply.texts is None:
                    raise ValueError("no texts were shown")
                answers += reply.texts
        return taught(prompts[:len(answers)], answers, self.tokens, rng) if answers else None


class Scribe:
    """A transformer that answers prompts word by word.

    Args:
        prompts: that it is to learn, (n,).
        answers: to them, (n,).
        rng: draws its start.
    """

    def __init__(self, prompts: list[str], answers: list[str], rng: Generator) -> None:
        told = [text.split() for text in prompts], [text.split() for text in answers]
        words = dict.fromkeys(word for texts in told for text in texts for word in text)
        self._words = ["", "", "", *words]
        self._places = {word: place for place, word in enumerate(words, start=END + 1)}
        self.start = min(max(map(len, told[0])), LONGEST) + 1
        self.length = min(max(map(len, told[1])), LONGEST) + 1
        self.model = Transformer(len(self._words), self.start + self.length, rng)

    def asked(self, prompts: list[str]) -> Tokens:
        """Prompts as tokens, the arrow last: (n, start)."""
        found = np.full((len(prompts), self.start), UNKNOWN, dtype=np.int64)
        found[:, -1] = ARROW
        for row, text in zip(found, prompts, strict=True):
            words = [self._places.get(word, UNKNOWN) for word in text.split()][1 - self.start:]
            row[self.start - 1 - len(words):-1] = words
        return found

    def answered(self, answers: list[str]) -> Tokens:
        """Answers as tokens: (n, length)."""
        found = np.full((len(answers), self.length), END, dtype=np.int64)
        for row, text in zip(found, answers, strict=True):
            words = [self._places.get(word, UNKNOWN) for word in text.split()][:self.length - 1]
            row[:len(words)] = words
        return found

    def write(self, inputs: list[str]) -> list[str]:
        """The likeliest answers: (queries,)."""
        tokens = self.model.write(self.asked(inputs), self.length, generator(0, "greedy"), is_greedy=True).tokens
        return [" ".join(self._words[token] for token in row[:_end(row)]) for row in tokens.tolist()]


def _end(tokens: list[int]) -> int:
    return tokens.index(END) if END in tokens else len(tokens)


def taught(prompts: list[str], answers: list[str], tokens: int, rng: Generator) -> Scribe:
    """A student of prompts and answers."""
    scribe = Scribe(prompts, answers, rng)
    texts = np.concatenate([scribe.asked(prompts), scribe.answered(answers)], axis=1)
    if len(texts) > 1:
        scribe.model.learn(Lesson(texts, scribe.start), Schedule(most=tokens), rng)
    return scribe

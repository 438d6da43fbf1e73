"""Recover all logits through the bias that callers may set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from counterclone.answers import Reply, Steps, top_labels
from counterclone.attacks._head import Head, Matrix
from counterclone.attacks._lessons import Asks
from counterclone.attacks._recovery import head, prompts
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.queries import Prompt
from counterclone.randomness import Generator

LIFT = 64.0
"""What lifts a token above all others: e^64 times as likely."""
MOST_AT_ONCE = 512


class LogitRecovery(Spec, frozen=True):
    """Recover all logits through the bias that callers may set.

    An API that shows the likeliest few tokens shows any others once their bias lifts them to the top; less what
    they were lifted by, their logarithms differ from the first token's by what the logits do. So k - 1 tokens a
    call give the whole row: 501 calls a prompt for 2,000 tokens and five that are shown. Where no
    log-probabilities are shown, the least bias that makes a token the answer is halved down for each of them: bits
    times as many calls as there are tokens. The rows then give the last layer away, as `head_recovery` finds it.

    Needs biased answers: tokens by number, and the answer's first token at temperature 0. Refusing a bias together
    with log-probabilities leaves halving; a cap on the bias's size and number, or on calls a prompt, leaves
    little.

    Carlini et al. 2024, "Stealing Part of a Production Language Model", sections 5 and 6; Finlayson et al. 2024.

    Attributes:
        top: how many of the likeliest tokens it asks for, the first of which is to compare with.
        bits: halvings of a token's bias where no log-probabilities are shown.
    """

    top: Annotated[int, msgspec.Meta(ge=2, le=100)] = 5
    bits: Annotated[int, msgspec.Meta(ge=6, le=48)] = 16

    needs: ClassVar[frozenset[str]] = frozenset({"text", "bias"})
    is_exact: ClassVar[bool] = True

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask prompt by prompt, and find the last layer of the rows that are whole."""
        texts = prompts(prior, rng)
        rows: list[Matrix] = []
        try:
            for text in texts:
                rows.append((yield from self._row(text, prior.classes)))
        except BudgetExhausted:
            pass
        return _head(texts, rows)

    def _row(self, text: str, n_tokens: int) -> Asks[Matrix]:
        """The logits of one prompt, the likeliest token's being 0: (vocabulary,)."""
        reply = yield [Prompt(text, top=self.top)]
        if reply.steps is None or reply.steps.logs.shape[2] < 2:
            return (yield from _halved(text, int(top_labels(reply.rows)[0]), n_tokens, self.bits))
        first, shown = int(reply.steps.top[0, 0, 0]), reply.steps.top.shape[2]
        others = np.delete(np.arange(n_tokens), first)
        row = np.zeros(n_tokens)
        # The first of them is lifted as well: else its own share may be too small to be told exactly.
        last = max(len(others) - shown + 1, 0)
        groups = [others[min(start, last):][:shown - 1] for start in range(0, len(others), shown - 1)]
        for batch in _batches([Prompt(text, dict.fromkeys([first, *group.tolist()], LIFT), shown)
                               for group in groups]):
            steps = (yield batch).steps
            if steps is None:
                raise BudgetExhausted("log-probabilities are no longer shown")
            _read(row, first, steps)
        return row


def _read(row: Matrix, first: int, steps: Steps) -> None:
    """Note what the answers to some calls tell of the tokens that they lifted, which all had the same bias."""
    for tokens, logs in zip(steps.top[:, 0], steps.logs[:, 0], strict=True):
        of_first = logs[tokens == first]
        if len(of_first):
            row[tokens] = logs - of_first


def _halved(text: str, first: int, n_tokens: int, bits: int) -> Asks[Matrix]:
    """The logits of one prompt from which token is the answer: each token's least bias that makes it so."""
    others = np.delete(np.arange(n_tokens), first)
    low, high = np.zeros(len(others)), np.full(len(others), LIFT)
    for _ in range(bits):
        middle = (low + high) / 2.0
        answers = []
        for batch in _batches([Prompt(text, {token: bias}) for token, bias in
                               zip(others.tolist(), middle.tolist(), strict=True)]):
            reply: Reply = yield batch
            answers.append(top_labels(reply.rows))
        is_answer = np.concatenate(answers) == others
        low, high = np.where(is_answer, low, middle), np.where(is_answer, middle, high)
    row = np.zeros(n_tokens)
    row[others] = -(low + high) / 2.0
    return row


def _batches(asked: list[Prompt]) -> Iterator[list[str]]:
    for start in range(0, len(asked), MOST_AT_ONCE):
        yield list(asked[start:start + MOST_AT_ONCE])


def _head(texts: list[str], rows: list[Matrix]) -> Head | None:
    return head(texts, np.array(rows)) if rows else None

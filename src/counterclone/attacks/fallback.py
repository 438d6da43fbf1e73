"""Drop probabilities where labels teach more."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

from counterclone.attacks._rivals import labels_only, preferred
from counterclone.attacks._students import Student, taught
from counterclone.attacks._transfer import Transfer
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.randomness import Generator


class Fallback(Spec, frozen=True):
    """Drop probabilities where labels teach more.

    A defence that distorts probabilities and keeps the label can't do more than hide the probabilities: a copier
    who sees that they mislead ignores them. So it asks what `knockoff` asks, teaches students with the
    probabilities and with the labels alone, and keeps what answers held-out queries better, the probabilities
    where it can't tell.

    Needs numeric inputs and probabilities. Asks not one query more than `knockoff`. With fewer than a dozen
    answers it compares nothing; it never does better than the better of the two, so that against a defence that
    flips labels it is no help.

    Lee et al. 2018, "Defending against neural network model stealing attacks using deceptive perturbations"
    (labels as the floor); Tang et al. 2024, "ModelGuard" (the top-1 attack).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"numbers", "scores"})
    is_exact: ClassVar[bool] = True

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask, and learn from one of the two."""
        transfer = Transfer(prior, "auto", rng)
        with suppress(BudgetExhausted):
            yield from transfer.ask(prior.budget)
        return _better(transfer, rng)


def _better(transfer: Transfer, rng: Generator) -> Student | None:
    lesson, natural = transfer.lesson, transfer.natural
    if not len(lesson.rows):
        return None
    kept = preferred([lesson, labels_only(lesson)], lesson.labels, natural, rng)
    return taught(kept, rng, natural)

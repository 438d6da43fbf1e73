"""Inputs that are moved along a substitute's gradient."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np

from counterclone.attacks._lessons import Asks
from counterclone.attacks._network import Aims, trained
from counterclone.attacks._students import STEPS_JUDGED, Scale
from counterclone.attacks._transfer import Transfer
from counterclone.errors import BudgetExhausted
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.queries import Features
from counterclone.randomness import Generator

LEAST_SEEDS = 4


class Jacobian(Spec, frozen=True):
    """Ask inputs that a substitute's gradient moves, for who has few inputs.

    From a few inputs of the pool it trains a substitute network on the answers, moves each input by one step along
    the sign of the substitute's gradient, asks the new ones, trains again with twice as many, and so on until the
    budget ends. With `targets = "own"` the gradient is that of the input's own label (Papernot), with "random"
    that of a label drawn for each input, which crosses more boundaries (Juuti). The copy is the best of the
    students of `knockoff`, taught with all answers.

    Needs numeric inputs and a few of the pool's; it gains where the pool is tiny, and with a pool as large as the
    budget `knockoff` does better.

    Papernot et al. 2017, "Practical Black-Box Attacks against Machine Learning", section 4.3; Juuti et al. 2019,
    "PRADA: Protecting against DNN Model Stealing Attacks", section 3.

    Attributes:
        step: by which an input is moved, as a share of each feature's range.
        targets: whose gradient it follows.
        seeds: the share of the budget that comes from the pool.
    """

    step: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.1
    targets: Literal["random", "own"] = "random"
    seeds: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.25

    needs: ClassVar[frozenset[str]] = frozenset({"numbers"})
    is_exact: ClassVar[bool] = False

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask, move, and learn."""
        transfer = Transfer(prior, "random", rng)
        with suppress(BudgetExhausted):
            yield from self._ask(transfer, prior, rng)
        return transfer.student()

    def _ask(self, transfer: Transfer, prior: Prior, rng: Generator) -> Asks[None]:
        n_seeds = max(LEAST_SEEDS, round(self.seeds * prior.budget))
        yield from transfer.ask(min(n_seeds, prior.budget, max(len(prior.pool), LEAST_SEEDS)))
        while transfer.lessons.left:
            moved = self._moved(transfer, prior, rng)
            yield from transfer.lessons.ask(moved[rng.permutation(len(moved))[:transfer.lessons.left]])

    def _moved(self, transfer: Transfer, prior: Prior, rng: Generator) -> Features:
        """Each input that was asked, one step along the substitute's gradient: (n, features)."""
        lesson = transfer.lesson
        scale = Scale.of(lesson.inputs)
        aims = Aims(lesson.rows, lesson.logs, 0.0 if lesson.is_hard else 0.1)
        scaled = scale.scaled(lesson.inputs)
        substitute = trained(scaled, aims, STEPS_JUDGED, rng)
        labels = lesson.labels if self.targets == "own" else rng.integers(0, prior.classes, len(scaled))
        signs = np.sign(substitute.gradient(scaled, np.eye(prior.classes)[labels]))
        moved = lesson.inputs + self.step * (prior.upper - prior.lower) * signs
        return moved.clip(prior.lower, prior.upper)

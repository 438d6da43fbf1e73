"""What the audit's own attacks ask a bed's model, in their order."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import cast

import numpy as np

from counterclone import plugins
from counterclone.answers import Reply
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.populations.beds import Bed
from counterclone.protocols import Attack, Prior
from counterclone.queries import Features, Inputs
from counterclone.randomness import generator


@functools.lru_cache(maxsize=32)
def replay(bed: Bed, kind: str, budget: int, seed: int = 0) -> Features:
    """An attack's queries, with the copier's part of the data as its pool: (budget or fewer, features).

    Args:
        bed: the model that is copied.
        kind: of the attack, as `counterclone list attacks` has it.
        budget: queries.
        seed: of the attack, and of the pool's order.

    Raises:
        ConfigError: there is no such attack.
    """
    spec = cast(Attack, plugins.load("attacks", kind)())
    pool = bed.parts["attack"].inputs
    prior = Prior(budget=budget, pool=pool[generator(seed, "replay", "pool").permutation(len(pool))],
                  classes=bed.n_classes, lower=bed.lower, upper=bed.upper)
    target = _Recorder(bed, budget)
    asking = spec.run(prior, generator(seed, "replay", kind, budget))
    # the model answers at once, so nothing is waited for, and no loop is needed; what is built isn't either
    with suppress(StopIteration, _Enough):
        drive(asking, target, Meter(budget)).send(None)
    return np.concatenate(target.asked)


class _Enough(Exception):
    """The budget is spent."""


class _Recorder:
    """A target that keeps what it is asked, and ends the attack once it has asked everything."""

    def __init__(self, bed: Bed, budget: int) -> None:
        self._bed = bed
        self._left = budget
        self.asked: list[Features] = []

    async def query(self, inputs: Inputs) -> Reply:
        """The model's answers.

        Raises:
            _Enough: those were the last.
        """
        queries = np.array(inputs, dtype=np.float64)
        self.asked.append(queries)
        self._left -= len(queries)
        if self._left <= 0:
            raise _Enough
        return Reply(self._bed.answer(queries))

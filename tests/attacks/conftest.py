from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import pytest

from counterclone.answers import Reply, Rows
from counterclone.audit.surfaces import Surface
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.protocols import Attack, Prior, Surrogate
from counterclone.queries import Features, Inputs
from counterclone.randomness import Prf, generator

FULL = Surface(name="full")


class Asked(NamedTuple):
    """What an attack built, and what it asked and got for it."""

    surrogate: Surrogate | None
    inputs: Features
    rows: Rows

    @property
    def queries(self) -> int:
        return len(self.inputs)


class Answering:
    """A function as a target."""

    def __init__(self, answer: Callable[[Inputs], Reply]) -> None:
        self.answer = answer

    async def query(self, inputs: Inputs) -> Reply:
        return self.answer(inputs)


class Attacked(Protocol):
    """Runs an attack on a target behind a surface, in the driver."""

    def __call__(self, attack: Attack, answer: Callable[[Inputs], Reply], budget: int, *, pool: Inputs,
                 lower: Features, upper: Features, classes: int, surface: Surface = ...,
                 seed: int = 0) -> Asked: ...


@pytest.fixture(scope="session")
def attacked() -> Attacked:
    return run


def run(attack: Attack, answer: Callable[[Inputs], Reply], budget: int, *, pool: Inputs, lower: Features,
        upper: Features, classes: int, surface: Surface = FULL, seed: int = 0) -> Asked:
    target = surface.before(Answering(answer), Prf.from_secret("a secret of the tests"), lower=lower, upper=upper)
    watched: list[tuple[Inputs, Rows]] = []

    class Watched:
        async def query(self, inputs: Inputs) -> Reply:
            reply = await target.query(inputs)
            watched.append((inputs, reply.rows))
            return reply

    prior = Prior(budget=budget, pool=pool, classes=classes, lower=lower, upper=upper, is_open=surface.is_open,
                  shows=surface.shows)
    surrogate = asyncio.run(drive(attack.run(prior, generator(seed, "attack")), Watched(), Meter(budget)))
    inputs, rows = zip(*watched, strict=True)
    return Asked(surrogate, np.concatenate(inputs), np.concatenate(rows))

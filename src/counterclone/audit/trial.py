"""One attack on one surface with one budget under one seed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from counterclone import plugins
from counterclone.answers import Reply, Rows, top_labels
from counterclone.audit.regions import Regions
from counterclone.audit.subject import Subject
from counterclone.audit.surfaces import Surface
from counterclone.budgets import Meter, Price
from counterclone.driver import drive
from counterclone.fidelity import agreement, balanced_agreement, divergence
from counterclone.plugins import Spec
from counterclone.protocols import Attack, Prior, Surrogate, Target
from counterclone.queries import Inputs
from counterclone.randomness import Prf, generator


class Trial(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one attack got; the fields are the report's.

    Attributes:
        attack: its kind.
        surface: what the target showed.
        queries: the budget.
        queries_sent: rows that were asked, never more.
        calls: batches that were asked.
        repeats: rows that had been asked before.
        seed: of the attack.
        fidelity: agreement with the target on the deployment's inputs, with its Wilson interval.
        fidelity_balanced: the mean agreement over the target's labels.
        fidelity_uniform: agreement on inputs drawn evenly, None for texts.
        accuracy: with true labels, None where nobody knows them.
        kl: mean divergence of the surrogate's probabilities from the target's, in nats; NaN for texts and vectors.
        worst_gap: the largest difference of a probability, likewise.
        parameter_error: the largest difference of a parameter, where both are linear.
        dimension: of the states before a language model's last layer, where it was found.
        is_verified: whether the attack found its copy exact on queries it held back; None where it claims nothing.
        coverage: the share of the deployment's regions that its queries touched.
        parameters: of the target, None where nobody knows.
        pool: what the attacker's inputs were: own, out-of-domain or uniform.
        usd: dollars spent on queries.
        seconds: wall time, the target's included.
    """

    attack: str
    surface: str
    queries: int
    queries_sent: int
    calls: int
    repeats: int
    seed: int
    fidelity: float
    fidelity_low: float
    fidelity_high: float
    fidelity_balanced: float
    fidelity_uniform: float | None
    accuracy: float | None
    kl: float
    worst_gap: float
    coverage: float
    parameters: int | None
    pool: str
    usd: float
    seconds: float
    parameter_error: float | None = None
    is_verified: bool | None = None
    dimension: int | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial is to be.

    Attributes:
        attack: the spec of the attack.
        surface: what the target shows.
        budget: queries.
        seed: of the attack.
    """

    attack: Spec
    surface: Surface
    budget: int
    seed: int

    @property
    def kind(self) -> str:
        """The attack's kind."""
        return plugins.kind_of(self.attack)


async def run(plan: Plan, subject: Subject, *, price: Price, noise: Prf,
              trace: Callable[[Inputs, Reply], None] = lambda inputs, reply: None) -> Trial | None:
    """Attack the subject once, and measure what was built.

    Args:
        plan: attack, surface, budget and seed.
        subject: the model.
        price: of a query.
        noise: the PRF of the policies' noise.
        trace: called with each batch and its reply.

    Returns:
        The figures; None where the attack built nothing with this budget.

    Raises:
        TargetError: the target can't be reached, or doesn't keep its promises.
    """
    started = time.monotonic()
    meter = Meter(plan.budget, price)
    shown = plan.surface.before(subject.target, noise, lower=subject.lower, upper=subject.upper)
    watched = Watched(shown, Regions(subject.evaluate), trace)
    attack = cast(Attack, plan.attack)
    prior = Prior(budget=plan.budget, pool=subject.pool, classes=subject.classes, lower=subject.lower,
                  upper=subject.upper, is_open=plan.surface.is_open, shows=plan.surface.shows)
    asking = attack.run(prior, generator(plan.seed, "attack", plan.kind))
    surrogate = await drive(asking, watched, meter)
    if surrogate is None:
        return None
    seconds = time.monotonic() - started
    return _measured(plan, subject, surrogate, meter, coverage=watched.regions.coverage,
                     seconds=seconds)


class Watched:
    """A target whose queries are seen on their way: which regions they touch, and what was answered.

    Args:
        target: answers.
        regions: of the deployment's inputs.
        trace: called with each batch and its reply.

    Attributes:
        regions: those that were touched among them.
    """

    def __init__(self, target: Target, regions: Regions, trace: Callable[[Inputs, Reply], None]) -> None:
        self._target = target
        self.regions = regions
        self._trace = trace

    async def query(self, inputs: Inputs) -> Reply:
        """The target's answers."""
        self.regions.touch(inputs)
        reply = await self._target.query(inputs)
        self._trace(inputs, reply)
        return reply


def _measured(plan: Plan, subject: Subject, surrogate: Surrogate, meter: Meter, *, coverage: float,
              seconds: float) -> Trial:
    rows, answers = surrogate.answer(subject.evaluate), subject.answers
    labels, own = top_labels(rows), top_labels(answers)
    agreed = agreement(own, labels)
    uniform = None
    if len(subject.uniform):
        evenly = surrogate.answer(subject.uniform)
        uniform = agreement(top_labels(subject.uniform_answers), top_labels(evenly)).value
    return Trial(
        attack=plan.kind, surface=plan.surface.name, queries=plan.budget, queries_sent=meter.queries,
        calls=meter.calls, repeats=meter.repeats, seed=plan.seed, fidelity=agreed.value, fidelity_low=agreed.low,
        fidelity_high=agreed.high, fidelity_balanced=balanced_agreement(own, labels), fidelity_uniform=uniform,
        accuracy=None if subject.truth is None else agreement(subject.truth, labels).value,
        kl=divergence(answers, rows), worst_gap=float(np.abs(rows - answers).max()), coverage=coverage,
        parameters=subject.n_parameters, pool=subject.pool_kind, usd=meter.usd, seconds=seconds,
        parameter_error=_parameter_error(subject.parameters, surrogate),
        is_verified=getattr(surrogate, "is_verified", None), dimension=getattr(surrogate, "dimension", None))


def _parameter_error(own: NDArray[np.float64] | None, surrogate: Surrogate) -> float | None:
    """The largest difference of a linear model's parameters, defined up to one vector for all classes."""
    found = getattr(surrogate, "parameters", None)
    if own is None or found is None or np.shape(found) != own.shape:
        return None
    return float(np.abs((own - own.mean(axis=0)) - (found - found.mean(axis=0))).max())


def majority(subject: Subject) -> Rows:
    """The answer of who knows the target's most frequent label only, (m, classes)."""
    counts = np.bincount(top_labels(subject.answers), minlength=subject.classes)
    return np.tile(np.eye(subject.classes)[counts.argmax()], (len(subject.answers), 1))

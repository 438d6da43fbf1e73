"""From a target and its owner's inputs to what is audited."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from counterclone.answers import Rows
from counterclone.audit.data import FEW_EVALUATED, Data, Warn, as_data, class_numbers, complete, distinct
from counterclone.audit.introspection import Model
from counterclone.audit.subject import Subject
from counterclone.audit.surfaces import ONLY_LABELS, SCORES
from counterclone.errors import ConfigError
from counterclone.fidelity import Labels
from counterclone.protocols import Target
from counterclone.queries import Features, Inputs
from counterclone.randomness import Generator, generator

N_UNIFORM = 1000
HELD_OUT = 1 / 3

PoolKind = Literal["own", "out-of-domain"]


class Brought(NamedTuple):
    """What an owner brought.

    Attributes:
        pool: an attacker's inputs, and their true labels where they are known.
        kind: what they are: own, out-of-domain or uniform.
        evaluate: the deployment's inputs.
        lower: the least value of each feature, (features,); empty for texts.
        upper: the largest.
    """

    pool: Data
    kind: str
    evaluate: Data
    lower: Features
    upper: Features


def bring(pool: Any, evaluate: Any, *, kind: PoolKind, seed: int, n_uniform: int, warn: Warn) -> Brought:
    """Check pool and evaluation inputs, and make up for what is missing.

    Args:
        pool: as `as_data` takes it; None draws inputs evenly from the range of `evaluate`.
        evaluate: likewise; None holds a third of the pool out.
        kind: where the pool comes from.
        seed: of the split and the pool's order.
        n_uniform: inputs to draw without a pool.
        warn: told of what makes figures less true.

    Raises:
        ConfigError: neither is there, or they don't fit each other.
    """
    if evaluate is None and pool is None:
        raise ConfigError("pool and evaluate are both missing; give inputs such as the model's callers send, for "
                          "the fidelity of a copy to be told by (--eval)")
    pooled: Data | None
    if evaluate is None:
        whole = complete(as_data(pool, "pool"), "pool", warn)
        order = generator(seed, "held out").permutation(len(whole.inputs))
        n_held_out = max(int(len(order) * HELD_OUT), 1)
        told, pooled = whole.take(order[:n_held_out]), whole.take(order[n_held_out:])
        warn(f"evaluate: none was given, so {n_held_out} inputs of the pool were held out to tell fidelity by")
    else:
        told = complete(as_data(evaluate, "evaluate"), "evaluate", warn)
        pooled = None if pool is None else complete(as_data(pool, "pool"), "pool", warn)
    if len(told.inputs) < 2:
        raise ConfigError(f"evaluate: {len(told.inputs)} inputs can't tell fidelity; give a hundred or more")
    if len(told.inputs) < FEW_EVALUATED:
        warn(f"evaluate: {len(told.inputs)} inputs tell fidelity roughly only; see the intervals")
    if pooled is None:
        return _without_pool(told, seed, n_uniform, warn)
    _check_alike(pooled.inputs, told.inputs)
    pooled = distinct(pooled, told.inputs, warn)
    pooled = pooled.take(generator(seed, "pool").permutation(len(pooled.inputs)))
    return Brought(pooled, kind, told, *_range(pooled.inputs))


def _without_pool(told: Data, seed: int, n_uniform: int, warn: Warn) -> Brought:
    if isinstance(told.inputs, list):
        raise ConfigError("pool: texts can't be drawn evenly; give texts that an attacker may have (--pool)")
    lower, upper = _range(told.inputs)
    drawn = _evenly(generator(seed, "pool"), lower, upper, n_uniform)
    warn("pool: none was given, so attacks that learn ask inputs drawn evenly; a copier with inputs like your "
         "callers' does better, so this under-reports")
    return Brought(Data(drawn), "uniform", told, lower, upper)


def _check_alike(pool: Inputs, told: Inputs) -> None:
    of_pool, of_told = (f"{np.shape(each)[1]} features" if isinstance(each, np.ndarray) else "texts"
                        for each in (pool, told))
    if of_pool != of_told:
        raise ConfigError(f"pool has {of_pool} and evaluate {of_told}; expected the same")


def _range(inputs: Inputs) -> tuple[Features, Features]:
    """The range of each feature; one that doesn't vary gets the others' median range as well."""
    if isinstance(inputs, list):
        return np.empty(0), np.empty(0)
    lower, upper = inputs.min(axis=0), inputs.max(axis=0)
    varies = lower < upper
    typical = (float(np.median(lower[varies])), float(np.median(upper[varies]))) if varies.any() else (0.0, 1.0)
    return (np.where(varies, lower, np.minimum(lower, typical[0])),
            np.where(varies, upper, np.maximum(upper, typical[1])))


def _evenly(rng: Generator, lower: Features, upper: Features, n: int) -> Features:
    drawn: Features = rng.uniform(lower, upper, (n, len(lower)))
    return drawn


async def prepare(target: Target, brought: Brought, *, name: str, model: Model, seed: int, is_paid: bool,
                  warn: Warn) -> tuple[Subject, frozenset[str], Labels | None]:
    """Ask the target what fidelity is told by.

    Args:
        target: the model itself.
        brought: its owner's inputs.
        name: what reports call it.
        model: what is known of it.
        seed: of the even inputs.
        is_paid: whether answers cost something, so that fewer even inputs are asked.
        warn: told of what makes figures less true.

    Returns:
        The subject, what its answers have, and the pool's own labels where they are known.

    Raises:
        TargetError: it can't be reached, or doesn't keep its promises.
        ConfigError: a true label is no class.
    """
    told = brought.evaluate
    reply = await target.query(told.inputs)
    n_uniform = min(N_UNIFORM, len(told.inputs)) if is_paid else N_UNIFORM
    uniform, even_answers = np.empty((0, 0)), np.empty((0, 0))
    if len(brought.lower):
        uniform = _evenly(generator(seed, "uniform"), brought.lower, brought.upper, n_uniform)
        even_answers = (await target.query(uniform)).rows
    n_classes = reply.rows.shape[1]
    truth = class_numbers(told.labels, model.class_names, n_classes, "evaluate")
    own = class_numbers(brought.pool.labels, model.class_names, n_classes, "pool")
    if len(np.unique(reply.rows.argmax(axis=1))) == 1:
        warn("evaluate: the target serves one class for all inputs, so that every copy agrees; give inputs of "
             "several classes")
    subject = Subject(
        target=target, name=name, pool=brought.pool.inputs, pool_kind=brought.kind, evaluate=told.inputs,
        truth=truth, answers=reply.rows, lower=brought.lower, upper=brought.upper, uniform=uniform,
        uniform_answers=even_answers, parameters=model.parameters, n_parameters=model.n_parameters)
    shows = SCORES if shows_scores(reply.rows) else ONLY_LABELS
    shown = {"logits": reply.logits, "ids": reply.ids}
    return subject, shows | {part for part, values in shown.items() if values is not None}, own


def shows_scores(rows: Rows) -> bool:
    """Whether rows tell more than labels."""
    return not ((rows == 0.0) | (rows == 1.0)).all()

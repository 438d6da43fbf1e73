"""The control arm: what a copier would have without a single answer of the target."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec
import numpy as np

from counterclone.answers import top_labels
from counterclone.audit.subject import Subject
from counterclone.audit.trial import majority
from counterclone.budgets import Meter
from counterclone.driver import drive
from counterclone.fidelity import Labels, agreement
from counterclone.protocols import Attack, Prior
from counterclone.randomness import generator
from counterclone.targets.recorded import Recorded

MOST_ROWS = 10_000


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The control's figures.

    Attributes:
        student: what stands in for a copy: `knockoff` on the pool's own labels, `majority`, or of an encoder the
            `inputs` themselves.
        rows: that it learned from.
        fidelity: agreement with the target on the deployment's inputs, the mean of the seeds.
        accuracy: with true labels, None where nobody knows them or nothing was learned.
    """

    student: str
    rows: int
    fidelity: float
    accuracy: float | None


async def control(subject: Subject, own: Labels | None, attack: Attack | None, seeds: Sequence[int]) -> Control:
    """Train the student on the pool without the target's answers.

    Args:
        subject: the model.
        own: the pool's own labels, (n,), None where nobody knows them.
        attack: how a student is trained on labels; without it, or without labels, the target's most frequent label
            stands in.
        seeds: of the student.
    """
    served = top_labels(subject.answers)
    if own is None or attack is None or len(np.unique(own)) < 2:
        return Control(student="majority", rows=0, fidelity=agreement(served, top_labels(majority(subject))).value,
                       accuracy=None)
    n_rows = min(len(own), MOST_ROWS)
    built = [await _student(subject, own, attack, n_rows, seed) for seed in seeds]
    copies = [labels for labels in built if labels is not None]
    if not copies:
        return await control(subject, None, None, seeds)
    truth = subject.truth
    return Control(
        student="knockoff", rows=n_rows,
        fidelity=statistics.fmean(agreement(served, labels).value for labels in copies),
        accuracy=None if truth is None else statistics.fmean(agreement(truth, labels).value for labels in copies))


async def _student(subject: Subject, own: Labels, attack: Attack, n_rows: int, seed: int) -> Labels | None:
    prior = Prior(budget=n_rows, pool=subject.pool, classes=subject.classes, lower=subject.lower,
                  upper=subject.upper, is_open=False, shows=frozenset({"labels"}))
    asking = attack.run(prior, generator(seed, "control"))
    surrogate = await drive(asking, Recorded(subject.pool, np.eye(subject.classes)[own]), Meter(n_rows))
    return None if surrogate is None else top_labels(surrogate.answer(subject.evaluate))

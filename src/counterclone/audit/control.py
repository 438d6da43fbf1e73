"""The control arm: what a copier would have without a single answer of the target."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec
import numpy as np

from counterclone.answers import Reply, top_labels
from counterclone.audit.subject import Subject
from counterclone.audit.trial import majority
from counterclone.budgets import Meter
from counterclone.driver import as_bytes, drive
from counterclone.fidelity import Labels, agreement
from counterclone.protocols import Attack, Prior
from counterclone.queries import Inputs
from counterclone.randomness import generator

MOST_ROWS = 10_000


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The control's figures.

    Attributes:
        student: what stands in for a copy: `knockoff` on the pool's own labels, or `majority`.
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
    surrogate = await drive(asking, Labelled(subject.pool, own, subject.classes), Meter(n_rows))
    return None if surrogate is None else top_labels(surrogate.answer(subject.evaluate))


class Labelled:
    """A target that knows the pool's own labels and nothing else.

    Args:
        pool: (n, features), or texts.
        labels: (n,).
        n_classes: how many there are.
    """

    def __init__(self, pool: Inputs, labels: Labels, n_classes: int) -> None:
        self._pool = pool
        self._labels = labels
        self._places = {row: place for place, row in enumerate(as_bytes(pool))}
        self._one_hot = np.eye(n_classes)

    async def query(self, inputs: Inputs) -> Reply:
        """The own label of each input; of one that isn't in the pool, the nearest's, or the most frequent."""
        places = [self._places.get(row, -1) for row in as_bytes(inputs)]
        labels = [self._nearest(inputs, number) if place < 0 else self._labels[place]
                  for number, place in enumerate(places)]
        return Reply(self._one_hot[np.array(labels, dtype=np.intp)])

    def _nearest(self, inputs: Inputs, number: int) -> int:
        if isinstance(self._pool, list) or isinstance(inputs, list):
            return int(np.bincount(self._labels).argmax())
        return int(self._labels[((self._pool - inputs[number]) ** 2).sum(axis=1).argmin()])

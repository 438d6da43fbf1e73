"""What an account could have learnt by now: a student of what it asked, measured on what others asked.

The audit's copier is taught with the answers that the account got and tried on inputs of other accounts, whose
answers the journal holds as well: the target isn't asked again, and those inputs are the deployment's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import numpy as np

from counterclone.answers import Rows, top_labels
from counterclone.attacks.knockoff import Knockoff
from counterclone.budgets import Meter
from counterclone.driver import as_bytes, drive
from counterclone.errors import WatchError
from counterclone.fidelity import Labels, agreement, balanced_agreement
from counterclone.protocols import Prior
from counterclone.queries import Features, Inputs
from counterclone.randomness import generator
from counterclone.targets.recorded import Recorded

LEAST_JUDGED = 50
"""Others' inputs under which a fidelity says nothing."""


class Answered(msgspec.Struct, frozen=True, eq=False):
    """Inputs with the answers that were served.

    Attributes:
        inputs: (n, features), or texts.
        rows: probabilities, one-hot where labels were served, (n, classes).
    """

    inputs: Inputs
    rows: Rows

    @property
    def labels(self) -> Labels:
        """The served label of each, (n,)."""
        return top_labels(self.rows)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the odometer shows.

    Attributes:
        queries: different inputs that the account asked.
        judged_on: inputs of others that the student was tried on.
        fidelity: agreement of the student with the target there.
        fidelity_low: the lower end of its 95 % Wilson interval.
        fidelity_high: the upper end.
        balanced: the mean of the agreements on each class.
        control: what the most frequent answer alone agrees on.
    """

    queries: int
    judged_on: int
    fidelity: float
    fidelity_low: float
    fidelity_high: float
    balanced: float
    control: float


def read(asked: Answered, others: Answered, seed: int = 0) -> Reading:
    """The fidelity of a student of one account's exchanges, or of a campaign's together.

    It is the copy that the audit's `knockoff` would have made of them, an estimate of what the account holds: a
    copier with inputs of its own, or who recovers the model exactly, may hold more.

    Args:
        asked: what the account asked.
        others: what other accounts asked; inputs that are in `asked` as well don't count.
        seed: of the student.

    Raises:
        WatchError: nothing was asked, others asked too little, or the two aren't alike.
    """
    known = set(as_bytes(asked.inputs))
    judged = _take(others, [place for place, row in enumerate(as_bytes(others.inputs)) if row not in known])
    _check(asked, judged)
    guessed = asyncio.run(_guesses(asked, judged.inputs, seed))
    found = agreement(judged.labels, guessed)
    return Reading(
        queries=len(known), judged_on=len(guessed), fidelity=found.value, fidelity_low=found.low,
        fidelity_high=found.high, balanced=balanced_agreement(judged.labels, guessed),
        control=float(np.bincount(judged.labels).max() / len(guessed)))


async def _guesses(asked: Answered, inputs: Inputs, seed: int) -> Labels:
    """What a student of the account's exchanges says to others' inputs, (n,)."""
    lower, upper = _bounds(asked.inputs)
    prior = Prior(budget=len(asked.rows), pool=asked.inputs, classes=asked.rows.shape[1], lower=lower, upper=upper)
    attack = Knockoff(selection="random")
    target, meter = Recorded(asked.inputs, asked.rows), Meter(len(set(as_bytes(asked.inputs))))
    surrogate = await drive(attack.run(prior, generator(seed, "odometer")), target, meter)
    if surrogate is None:
        return np.full(len(inputs), np.bincount(asked.labels).argmax())
    return top_labels(surrogate.answer(inputs))


def _bounds(inputs: Inputs) -> tuple[Features, Features]:
    if isinstance(inputs, list):
        return np.empty(0), np.empty(0)
    return inputs.min(axis=0), inputs.max(axis=0)


def _take(answered: Answered, places: Sequence[int]) -> Answered:
    """Some of it, in the order of `places`."""
    inputs, numbers = answered.inputs, np.array(places, dtype=np.intp)
    return Answered([inputs[place] for place in places] if isinstance(inputs, list) else inputs[numbers],
                    answered.rows[numbers])


def _check(asked: Answered, judged: Answered) -> None:
    if not len(asked.rows):
        raise WatchError("nothing with a payload was asked; set `[journal] payloads = true` and wait for traffic")
    if len(judged.rows) < LEAST_JUDGED:
        raise WatchError(f"others asked {len(judged.rows)} inputs that this account didn't, of {LEAST_JUDGED} "
                         "that are needed to tell a copy's fidelity; wait for more traffic")
    shapes = [(type(each.inputs), np.shape(each.inputs)[1:], each.rows.shape[1]) for each in (asked, judged)]
    if shapes[0] != shapes[1]:
        raise WatchError("this account's queries and those of others differ in features or classes, so no copy "
                         "can be tried on both; name one model's exchanges only")

"""Pumps an attack's queries into a target: what it may not do is ask one too many."""

from __future__ import annotations

import contextlib

import numpy as np

from counterclone.answers import Reply
from counterclone.budgets import Meter
from counterclone.errors import BudgetExhausted, TargetError
from counterclone.protocols import Asking, Surrogate, Target
from counterclone.queries import Inputs


async def drive(asking: Asking, target: Target, meter: Meter) -> Surrogate | None:
    """Run an attack to its end.

    Args:
        asking: the attack, not yet begun.
        target: answers it.
        meter: counts and stops it. An attack that asks beyond the budget is told so once; where it asks again, it
            ends without a surrogate.

    Returns:
        What the attack built; None for nothing.

    Raises:
        TargetError: the target can't be reached, or doesn't keep its promises.
    """
    try:
        inputs = next(asking)
        while True:
            rows = as_bytes(inputs)
            if not rows:
                raise ValueError("the attack asked an empty batch; an attack yields at least one query")
            try:
                meter.admit(rows)
            except BudgetExhausted as error:
                return _last_words(asking, error)
            reply = _checked(await target.query(inputs), len(rows))
            meter.numbers += reply.rows.size
            inputs = asking.send(reply)
    except StopIteration as stop:
        surrogate: Surrogate | None = stop.value
        return surrogate


def as_bytes(inputs: Inputs) -> list[bytes]:
    """Each row of a batch as bytes."""
    if isinstance(inputs, np.ndarray):
        return [row.tobytes() for row in np.ascontiguousarray(inputs, dtype=np.float64)]
    return [text.encode(errors="surrogatepass") for text in inputs]


def _last_words(asking: Asking, error: BudgetExhausted) -> Surrogate | None:
    try:
        asking.throw(error)
    except StopIteration as stop:
        surrogate: Surrogate | None = stop.value
        return surrogate
    except BudgetExhausted:  # it knew no way to end
        return None
    with contextlib.suppress(RuntimeError):  # it won't even end when it is closed
        asking.close()
    return None


def _checked(reply: Reply, n_queries: int) -> Reply:
    if len(reply.rows) != n_queries:
        raise TargetError(f"{n_queries} queries got {len(reply.rows)} answers; expected one for each")
    return reply

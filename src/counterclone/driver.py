"""Pumps an attack's or an examination's queries into a target: what it may not do is ask one too many."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import TypeVar

import numpy as np

from counterclone.answers import Reply
from counterclone.budgets import BYTES_PER_TOKEN, Meter
from counterclone.errors import BudgetExhausted, TargetError
from counterclone.protocols import Target
from counterclone.queries import Inputs, Prompt

T = TypeVar("T")


async def drive(asking: Generator[Inputs, Reply, T], target: Target, meter: Meter) -> T | None:
    """Run an attack, or an examination of a suspect, to its end.

    Args:
        asking: the attack or examination, not yet begun.
        target: answers it.
        meter: counts and stops it. Who asks beyond the budget is told so once, and who asks again ends with
            nothing.

    Returns:
        What the attack built, or the evidence; None for nothing.

    Raises:
        TargetError: the target can't be reached, or doesn't keep its promises.
    """
    try:
        inputs = next(asking)
        while True:
            rows = as_bytes(inputs)
            if not rows:
                raise ValueError("an empty batch was asked; an attack or examination yields at least one query")
            try:
                meter.admit(rows)
            except BudgetExhausted as error:
                return _last_words(asking, error)
            reply = _checked(await target.query(inputs), len(rows))
            meter.numbers += _told(reply)
            inputs = asking.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result


def as_bytes(inputs: Inputs) -> list[bytes]:
    """Each row of a batch as bytes; prompts that differ in their settings are other rows."""
    if isinstance(inputs, np.ndarray):
        return [row.tobytes() for row in np.ascontiguousarray(inputs, dtype=np.float64)]
    return [text.encode(errors="surrogatepass") + (text.settings if isinstance(text, Prompt) else b"")
            for text in inputs]


def _last_words(asking: Generator[Inputs, Reply, T], error: BudgetExhausted) -> T | None:
    try:
        asking.throw(error)
    except StopIteration as stop:
        result: T = stop.value
        return result
    except BudgetExhausted:  # it knew no way to end
        return None
    with contextlib.suppress(RuntimeError):  # it won't even end when it is closed
        asking.close()
    return None


def _told(reply: Reply) -> int:
    """What an answer is paid by: its numbers, and the tokens of its texts, which four bytes count as one of."""
    found = reply.rows.size + (0 if reply.vectors is None else reply.vectors.size)
    return found + sum(len(text.encode(errors="replace")) for text in reply.texts or ()) // BYTES_PER_TOKEN


def _checked(reply: Reply, n_queries: int) -> Reply:
    if len(reply.rows) != n_queries:
        raise TargetError(f"{n_queries} queries got {len(reply.rows)} answers; expected one for each")
    return reply

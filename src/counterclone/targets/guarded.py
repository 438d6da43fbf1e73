"""A target behind policies and rules: what its callers see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterclone.answers import Context, Reply
from counterclone.protocols import Policy, Rule, Target
from counterclone.queries import Inputs, Query
from counterclone.randomness import Prf
from counterclone.releases import for_rows, released

FLOATS = {64: np.float64, 32: np.float32, 16: np.float16}


class Guarded:
    """A target whose answers pass through policies, as the guard's do.

    Args:
        target: what is behind them.
        policies: what leaves, in order.
        noise: the PRF of the model's epoch.
        rules: what comes in, in order.
        float_bits: 64, 32 or 16, the width of what is sent.
        shows: what of an answer is shown; `ids` and `logits` only where no policy is.
    """

    def __init__(self, target: Target, policies: Sequence[Policy], noise: Prf, *, rules: Sequence[Rule] = (),
                 float_bits: int = 64, shows: frozenset[str] = frozenset({"labels", "scores"})) -> None:
        self._target = target
        self._policies = for_rows(policies)
        self._noise = noise
        self._rules = tuple(rules)
        self._float = FLOATS[float_bits]
        self._shows = shows

    async def query(self, inputs: Inputs) -> Reply:
        """The answers as they leave.

        Raises:
            TargetError: the target fails.
            Refused: a rule doesn't admit a query.
            AnswerError: a policy fails.
        """
        query = Query(inputs)
        for rule in self._rules:
            query = rule.admit(query)
        asked = inputs if isinstance(inputs, list) or query.features is None else query.features
        reply = await self._target.query(asked)
        rows = released(self._policies, Context(self._noise, query), reply.rows)
        logits = reply.logits if "logits" in self._shows and not self._policies else None
        ids = reply.ids if "ids" in self._shows and not self._policies else None
        return Reply(rows.astype(self._float).astype(np.float64),
                     None if logits is None else logits.astype(self._float).astype(np.float64), ids)

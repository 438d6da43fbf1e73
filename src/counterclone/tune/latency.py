"""What a setting costs a request: CPU of this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast

import numpy as np

from counterclone import plugins
from counterclone.answers import Context
from counterclone.protocols import Policy
from counterclone.queries import Query
from counterclone.randomness import Prf, generator
from counterclone.releases import for_rows, released
from counterclone.tune.settings import Table

ROWS, TIMES, ROUNDS = 32, 5, 5


def microseconds(policies: Sequence[Table], classes: int) -> float:
    """CPU a row of a batch of 32, the least of five rounds, since whatever else runs only adds to it.

    Args:
        policies: as tables of the file, in order.
        classes: of an answer.
    """
    built = for_rows([cast(Policy, plugins.build("policies", table, "setting")) for table in policies])
    rng = generator(0, "latency")
    rows = rng.dirichlet(np.ones(classes), ROWS)
    context = Context(Prf.from_secret("latency"), Query(rng.normal(size=(ROWS, 8))))
    spent = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        for _ in range(TIMES):
            released(built, context, rows)
        spent.append(time.thread_time() - begun)
    return 1e6 * min(spent) / (TIMES * ROWS)

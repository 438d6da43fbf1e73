"""An audit's queries as exchanges in JSON lines, labelled: what detectors are tried on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import orjson

from counterclone.answers import Reply
from counterclone.audit.trial import Plan
from counterclone.queries import Inputs


class Tracing(Protocol):
    """Takes the queries of trials."""

    def of(self, plan: Plan) -> Callable[[Inputs, Reply], None]:
        """What takes the batches of one trial, and their replies as they were shown."""
        ...


class Trace:
    """Writes a line for each batch; each trial is an account of its own, and `meta` says what it is.

    Args:
        path: the file, which is made anew.
        clock: seconds since 1970.

    Raises:
        OSError: it can't be written.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("wb")
        self._clock = clock

    def of(self, plan: Plan) -> Callable[[Inputs, Reply], None]:
        """What takes the batches of one trial, and their replies as they were shown."""
        account = f"{plan.kind}/{plan.surface.name}/{plan.budget}/{plan.seed}"
        meta = {"attack": plan.kind, "surface": plan.surface.name, "budget": plan.budget, "seed": plan.seed}

        def see(inputs: Inputs, reply: Reply) -> None:
            now = self._clock()
            if isinstance(inputs, np.ndarray):
                self._write({"time": now, "account": account, "query": {"features": inputs},
                             "answer": {"scores": reply.rows}, "meta": meta})
                return
            for text, row in zip(inputs, reply.rows, strict=True):
                self._write({"time": now, "account": account, "query": {"text": text}, "answer": {"scores": row},
                             "meta": meta})

        return see

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()

    def _write(self, exchange: dict[str, object]) -> None:
        self._file.write(orjson.dumps(exchange, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from counterclone.answers import Reply
from counterclone.audit.surfaces import SURFACES
from counterclone.audit.trace import Trace
from counterclone.audit.trial import Plan
from counterclone.journal import read_lines

if TYPE_CHECKING:
    from tests.audit.conftest import Toys


def test_batches_are_exchanges_of_an_account_for_each_trial(tmp_path: Path, toys: Toys) -> None:
    path = tmp_path / "new" / "trace.jsonl"
    ticks = iter([1e9, 1e9 + 1, 1e9 + 2])
    trace = Trace(path, lambda: next(ticks))
    one, other = (trace.of(Plan(attack=toys.toy, surface=SURFACES[name], budget=5, seed=seed))
                  for name, seed in (("full", 0), ("labels", 1)))
    numbers = np.array([[0.1, 2.0], [3.0, 1 / 3]])
    one(numbers, Reply(np.array([[0.25, 0.75], [0.5, 0.5]])))
    other(numbers[:1], Reply(np.array([[0.0, 1.0]])))
    one(["a text", "é"], Reply(np.array([[0.25, 0.75], [0.5, 0.5]])))
    trace.close()
    lines = list(read_lines(path))
    assert [(line.time, line.account) for line in lines] == [
        (1e9, "toy/full/5/0"), (1e9 + 1, "toy/labels/5/1"), (1e9 + 2, "toy/full/5/0"), (1e9 + 2, "toy/full/5/0")]
    first, second, third, _ = lines
    assert first.query.features is not None
    assert first.query.features.tolist() == numbers.tolist()
    assert first.answer is not None
    assert first.answer.scores is not None
    assert first.answer.scores.tolist() == [[0.25, 0.75], [0.5, 0.5]]
    assert second.meta == {"attack": "toy", "surface": "labels", "budget": 5, "seed": 1}
    assert third.query.text == "a text"

from __future__ import annotations

from typing import Any

from counterclone import plugins
from counterclone.testing import honest_exchanges


def test_all_summaries_of_an_account_together_are_small() -> None:
    reference = honest_exchanges(120)
    sizes = []
    for kind in plugins.kinds("detectors"):
        detector: Any = plugins.build("detectors", {"kind": kind}, "here")
        sizes.append(detector.start(reference).empty(1).nbytes)
    assert sum(sizes) <= 16 * 1024

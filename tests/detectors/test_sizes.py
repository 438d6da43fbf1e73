from __future__ import annotations

from typing import Any

import pytest

from counterclone import plugins
from counterclone.testing import check_detector, honest_exchanges

KINDS = plugins.kinds("detectors")


def build(kind: str) -> Any:
    return plugins.build("detectors", {"kind": kind}, "here")


@pytest.mark.parametrize("kind", KINDS)
def test_laws(kind: str) -> None:
    check_detector(build(kind))


def test_all_summaries_of_an_account_together_are_small() -> None:
    reference = honest_exchanges(120)
    assert sum(build(kind).start(reference).empty(1).nbytes for kind in KINDS) <= 16 * 1024

"""A marked text from a server of ours, through the gateway with its account, into a student, to a proof."""

from __future__ import annotations

import pytest

from counterclone.demo import desk_theft
from counterclone.demo.desk_theft import Sizes

pytest.importorskip("transformers")


def test_a_student_of_marked_texts_is_proven_and_leads_to_its_account() -> None:
    said: list[str] = []
    found = desk_theft.run(0, said.append, Sizes(records=5_000, honest=60, copied=1_000, unseen=100))
    assert found.unchanged == 1.0
    assert min(found.bare.exact, found.guarded.exact) > 0.8 > 0.2 > found.majority
    assert (found.bare.verdict.verdict, found.guarded.verdict.verdict) == ("not-proven", "proven")
    assert found.guarded.verdict.p_value < 1e-9 < 1e-3 < found.bare.verdict.p_value
    assert found.is_named
    assert any("marked texts under commitment 1" in each for each in said)

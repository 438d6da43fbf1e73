from __future__ import annotations

import numpy as np
import pytest

from counterclone.errors import ConfigError
from counterclone.populations import beds
from counterclone.populations.campaigns import campaign
from counterclone.populations.replays import replay

BED = beds.load("digits")


@pytest.mark.parametrize("kind", ["knockoff", "jacobian", "range_probing", "averaging"])
def test_an_audits_attack_is_replayed_to_its_budget(kind: str) -> None:
    asked = replay(BED, kind, 120)
    assert asked.shape == (120, 64)
    own = {row.tobytes() for row in BED.parts["attack"].inputs}
    of_pool = np.mean([row.tobytes() in own for row in asked])
    assert of_pool > (0.2 if kind == "jacobian" else 0.5)


def test_a_campaign_asks_what_the_attack_asks_in_its_order() -> None:
    asked = replay(BED, "jacobian", 200, seed=3)
    found = campaign(BED, "audit/jacobian", 10, 20, seed=3, raw=True)
    assert found.inputs == pytest.approx(asked)
    assert set(found.kinds) == {"campaign/audit/jacobian"}


def test_queries_outside_the_range_stay_there() -> None:
    asked = campaign(BED, "audit/range_probing", 1, 240, raw=True).inputs
    assert asked is not None
    assert (asked > BED.upper).any()
    assert (asked < BED.lower).any()


def test_an_unknown_attack_is_named() -> None:
    with pytest.raises(ConfigError, match="there is no 'knockof'"):
        campaign(BED, "audit/knockof")

from __future__ import annotations

from typing import cast

import numpy as np

from counterclone.answers import Context, top_labels
from counterclone.plugins import build
from counterclone.protocols import Policy
from counterclone.queries import Query
from counterclone.randomness import Prf, generator
from counterclone.releases import for_rows, released
from counterclone.tune import settings
from counterclone.tune.settings import AS_IT_IS, name_of


def test_every_setting_is_there_once_and_the_owners_own_too() -> None:
    own = ({"kind": "rounding", "decimals": 7},)
    found = settings(own)
    assert len({setting.name for setting in found}) == len(found) > 40
    assert found[0].name == AS_IT_IS
    assert own in [setting.policies for setting in found]
    assert name_of(own) == "rounding 7"


def test_no_setting_changes_a_label() -> None:
    rows = generator(0, "settings").dirichlet(np.full(12, 0.3), size=200)
    query = Query(generator(1, "settings").normal(size=(200, 3)))
    for setting in settings():
        policies = [cast(Policy, build("policies", table, setting.name)) for table in setting.policies]
        assert not any(policy.may_flip for policy in policies)
        served = released(for_rows(policies), Context(Prf.from_secret("n"), query), rows)
        assert (top_labels(served) == top_labels(rows)).all(), setting.name

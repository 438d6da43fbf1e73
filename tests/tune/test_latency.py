from __future__ import annotations

from counterclone.tune.latency import microseconds


def test_policies_cost_more_than_none_and_less_than_a_millisecond() -> None:
    nothing = microseconds((), 100)
    rounded = microseconds(({"kind": "rounding", "decimals": 2},), 100)
    assert 0.0 <= nothing < rounded < 1000.0

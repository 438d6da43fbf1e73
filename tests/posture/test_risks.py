from __future__ import annotations

import msgspec
import pytest
from tests.posture.known import FACTS, OPENED, OUTLOOK, TRAFFIC, facts, with_audit, with_settings

from counterclone.posture import Facts, risks
from counterclone.posture.risks import ALWAYS

BUSY = msgspec.structs.replace(TRAFFIC.busiest[0], queries=1760, copy_share=2.0)


def test_what_no_setting_changes_is_always_said() -> None:
    for known in (FACTS, facts(audit=None, traffic=None, cases=(), outlook=())):
        assert risks(known)[-len(ALWAYS):] == ALWAYS


def test_where_all_is_well_the_copys_price_is_the_risk() -> None:
    assert risks(FACTS)[:-len(ALWAYS)] == (
        "A 90 % copy takes 880 queries or $1.32 by the cheapest attack tried, knockoff.",
        "At the limits of the audit one account gathers them in 20.0 days, and 9 accounts in a day.")


@pytest.mark.parametrize(("known", "said"), [
    (facts(audit=None), "What a copy costs is unknown."),
    (with_audit(is_current=False), "through the present policies is unknown"),
    (with_audit(copies=()), "reached no 90 % copy; its nearest one agrees on 93.1%, against 75.0% without"),
    (with_settings(enforces=False), "Shadow mode"),
    (with_settings(is_open=True), "another account for the price of another key"),
    (with_settings(is_watched=False), "compares nobody with honest users"),
    (facts(cases=(OPENED,)), "Waiting for somebody's decision: 1 case."),
    (facts(outlook=(msgspec.structs.replace(OUTLOOK, found=0),)), "may not be proven"),
    (facts(outlook=()), "may not be proven"),
    (facts(traffic=msgspec.structs.replace(TRAFFIC, busiest=(BUSY,))),
     "Account fedcba9876543210 was answered 1,760 different queries, 2.0 times what such a copy takes."),
])
def test_what_is_not_well_is_said(known: Facts, said: str) -> None:
    assert len([risk for risk in risks(known) if said in risk]) == 1
    assert not [risk for risk in risks(FACTS) if said in risk]

"""Facts of an installation in which all is well."""

from __future__ import annotations

from typing import Any

import msgspec

from counterclone.audit.curve import Reach
from counterclone.audit.findings import Finding
from counterclone.posture import Audited, Busy, Chosen, Epoch, Facts, InPlace, Traffic, Version
from counterclone.prove.outlook import Outlook
from counterclone.prove.timestamps import Stamp
from counterclone.watch.cases import Case, Evidence, Noted

DAY = 86_400.0
NOW = 1_764_158_400.0
AUDIT = Audited(
    target="mymodel:predict", time=NOW - 3 * DAY, config_digest="0123456789abcdef", is_current=True,
    surface="guarded", attacks=("hard_label", "knockoff"), fidelity=0.931, control=0.75,
    copies=(Reach(fidelity=0.5, surface="guarded", attack="knockoff", queries=100, usd=0.15, is_bound=True),
            Reach(fidelity=0.9, surface="guarded", attack="knockoff", queries=880, usd=1.32, days=20.0,
                  accounts=9)),
    findings=(Finding(id="cheap-copy", severity="high", text="A copy is cheap.", remedy="Show less."),),
    training_cost_usd=250_000.0)
IN_PLACE = InPlace(
    enforces=True, callers="Keys that were handed out tell them apart", is_open=False,
    limits={"limit_queries_per_day": 20_000.0, "limit_copy_share_per_day": 44.0}, copy_share=0.05,
    total_limits={"limit_total_queries_per_day": 1_000_000.0}, policies=("rounding (decimals = 2)",),
    rules=("range (mode = \"clip\")",), tiers=("from risk 1: throttle, 2 queries a minute, labels",), acts=True,
    classes=("evaluators: 1 account",), marks=("triggers (rate = 0.002)",),
    journal="for 90 days, without queries and answers", is_watched=True, false_alarms_per_year=12.0,
    told=("a webhook",), is_writable_by_others=False)
TRAFFIC = Traffic(
    rows=12_345, answered=12_000, accounts=12, first_time=NOW - 9 * DAY, last_time=NOW, bits=98_765.4,
    decisions={"served": 12_000, "limited": 345}, models=("m",),
    busiest=(Busy(account="fedcba9876543210", queries=440, bits=7_040.0, copy_share=0.5),))
OPENED = Case(
    id="7f07f91d", opened=NOW - 2 * DAY, accounts=("0123456789abcdef",),
    evidence=[Evidence(kind="alarm", reasons=("its queries are odd",), queries=1200, risk=1.0, p_value=0.001)],
    notes=[Noted(time=NOW - DAY, case="7f07f91d", text="asked them", by="jo")])
DECIDED = Case(
    id="f8792ec8", opened=NOW - DAY, accounts=tuple(f"{number:016x}" for number in range(30)), decision="block",
    evidence=[Evidence(kind="campaign", reasons=("30 accounts ask as one",), queries=9000, risk=1.0)])
OUTLOOK = Outlook(commitment=1, kind="triggers", rows=52, controls=0, accounts=4, most=34, needed=20, power=0.96,
                  found=1)
CHOSEN = Chosen(time=NOW - 5 * DAY, name="rounding 2", reason="the hardest to copy within the limits",
                is_in_place=True)
FACTS = Facts(
    time=NOW, version="0.1.0", file="counterclone.toml", config_digest="fedcba9876543210",
    target="http://127.0.0.1:9000", task="classifier", epoch="1", audit=AUDIT, chosen=CHOSEN, in_place=IN_PLACE,
    history=(Version(since=NOW - 9 * DAY, digest="0123456789abcdef", changed=()),
             Version(since=NOW - DAY, digest="fedcba9876543210", changed=("[guard] policy",))),
    n_versions=2, traffic=TRAFFIC, cases=(DECIDED,),
    epochs=(Epoch(number=1, created=NOW - 9 * DAY, digest="ab" * 32, marks=("triggers (rate = 0.002)",),
                  timestamp=Stamp(NOW - 9 * DAY, "CN=tsa")),),
    outlook=(OUTLOOK,), problems=())


def facts(**changes: Any) -> Facts:
    """The facts but for some."""
    return msgspec.structs.replace(FACTS, **changes)


def with_settings(**changes: Any) -> Facts:
    """The facts with other settings."""
    return facts(in_place=msgspec.structs.replace(IN_PLACE, **changes))


def with_audit(**changes: Any) -> Facts:
    """The facts with another audit."""
    return facts(audit=msgspec.structs.replace(AUDIT, **changes))

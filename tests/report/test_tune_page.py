from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec

from counterclone.audit import Utility
from counterclone.report import tune as report
from counterclone.tune import Point, Tuned
from counterclone.tune.economics import Effort
from counterclone.tune.quotas import Quota
from counterclone.tune.suspicion import Bar

UTILITY = Utility(label_changed=0.0, label_changed_high=0.01, accuracy_loss=0.0, calibration_error_increase=0.01,
                  brier_increase=0.002, l1=0.05, inputs=450, top_3_loss=0.02, area_loss=None)
QUOTA = Quota(key="limit_queries_per_day", amount=20, honest_limited=0.002, honest_limited_high=0.008, days=9.0,
              accounts=5, copy_share=0.1)
POINT = Point(
    name="rounding 1", settings=({"kind": "rounding", "decimals": 1},), accuracy_loss=0.0,
    calibration_error_increase=0.01, fidelity=0.96, fidelity_low=0.95, fidelity_high=0.97, attack="hard_label",
    queries_to_90=200, usd_to_90=0.3, is_bound=True, is_judged=True, utility=UTILITY, attacks=("hard_label",),
    latency_us=1.5, days_to_90=9.0, accounts_to_90=5,
    bars=(Bar(risk=0.5, honest_share=0.05, queries=30, fidelity=0.7, bound="at most", attack="hard_label"),
          Bar(risk=1.0, honest_share=0.003, queries=None, fidelity=0.96, bound="", attack="hard_label")),
    quotas=(QUOTA, msgspec.structs.replace(QUOTA, amount=500, honest_limited=None, honest_limited_high=None,
                                           copy_share=2.5)))
FULL = msgspec.structs.replace(POINT, name="as it is", settings=(), fidelity=0.99, fidelity_low=0.99,
                               fidelity_high=0.99, queries_to_90=None, usd_to_90=None, bars=(), quotas=())
TUNED = Tuned(
    target="model <script>alert(1)</script>", seed=3, budgets=(100, 300),
    points=[FULL, POINT, msgspec.structs.replace(POINT, name="noise 1", is_judged=False)], chosen=POINT.settings,
    reason="'rounding 1' is within the limits", control=0.1, majority=0.1, warnings=["evaluate: few inputs"],
    seconds=12.0, training_cost_usd=3.0, chosen_limit=QUOTA, honest_accounts=500,
    limit_reason="the limit is limit_queries_per_day = 20", limits={"limit_queries_per_day": 20.0},
    efforts=[Effort(usd=usd, accounts=accounts, days=1.0, queries=40, fidelity=0.8, bound="at least")
             for usd in (1.0, 10.0) for accounts in (1, 10)],
    marks=("The mark triggers changes up to 0.20% of the answers besides; that isn't in the table.",))


def printed(tuned: Tuned) -> str:
    file = io.StringIO()
    report.show(tuned, file)
    return file.getvalue()


def test_the_terminal_says_what_is_chosen_and_what_it_means() -> None:
    text = printed(TUNED)
    for part in ("* rounding 1", "* 20 a day", "0.20% (at most 0.80%)", "The limit is limit_queries_per_day = 20",
                 "≥ 80.0%", "10 accounts, 1 day", "≤ 70.0%", "1 (alarm)", "96.0%, no alarm", "in 9.0 days",
                 "-2.00%", "The mark triggers", "evaluate: few inputs"):
        assert part in text, part


def test_what_nobody_knows_is_left_out_or_said_to_be_unknown() -> None:
    bare = msgspec.structs.replace(TUNED, points=[FULL], chosen=None, efforts=[], chosen_limit=None)
    text = printed(bare)
    assert "not reached" in text
    assert "Tiers for" not in text
    assert "What it would take" not in text
    assert "*" not in text


def test_a_page_has_everything_and_no_markup_of_others(tmp_path: Path) -> None:
    report.write(tmp_path / "page.html", TUNED)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    for part in ("<svg", "(chosen)", "What it would take", "Limits for", "Tiers for", "noise 1"):
        assert part in page, part


def test_a_picture_is_a_file_of_its_own_in_two_themes(tmp_path: Path) -> None:
    report.write(tmp_path / "frontier.svg", TUNED)
    text = (tmp_path / "frontier.svg").read_text(encoding="utf-8")
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in text
    assert "currentColor" in text

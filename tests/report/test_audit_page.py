from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from counterclone.audit.control import Control
from counterclone.audit.curve import Point, Reach
from counterclone.audit.findings import Finding, Shown
from counterclone.audit.plans import Skipped
from counterclone.audit.result import Audit
from counterclone.audit.trial import Trial
from counterclone.audit.utility import Utility
from counterclone.report import audit as report
from counterclone.report.curves import curves

TRIAL = Trial(
    attack="knockoff", surface="full", queries=100, queries_sent=100, calls=1, repeats=0, seed=0, fidelity=0.9,
    fidelity_low=0.87, fidelity_high=0.93, fidelity_balanced=0.9, fidelity_uniform=0.5, accuracy=0.85, kl=0.1,
    worst_gap=0.5, coverage=0.5, parameters=650, pool="own", usd=0.15, seconds=1.0)


def trials(surface: str, *fidelities: float, attack: str = "knockoff") -> list[Trial]:
    return [msgspec.structs.replace(
        TRIAL, surface=surface, queries=100 * 10**n, queries_sent=100 * 10**n, seed=seed, attack=attack,
        fidelity=fidelity - seed / 100, usd=0.15 * 10**n)
            for n, fidelity in enumerate(fidelities) for seed in range(2)]


UTILITY = Utility(label_changed=0.0, label_changed_high=0.004, accuracy_loss=0.0, calibration_error_increase=0.01,
                  brier_increase=0.002, l1=0.05, inputs=1000)


def shown(name: str, *shows: str, decimals: int | None = None) -> Shown:
    return Shown(name=name, shows=shows, decimals=decimals, label_unchanged=1.0, accuracy=0.96, utility=UTILITY)


AUDIT = Audit(
    target="mymodel:predict", config_digest="0123456789abcdef", seed=7, authorized_by="the owner",
    trials=[*trials("guarded", 0.8, 0.92), *trials("labels", 0.6, 0.7, attack="hard_label")],
    control=Control(student="knockoff", rows=447, fidelity=0.75, accuracy=0.8),
    cheapest=[Reach(fidelity=0.5, surface="guarded", attack="knockoff", queries=100, usd=0.15, is_bound=True,
                    days=0.5, accounts=1),
              Reach(fidelity=0.9, surface="guarded", attack="knockoff", queries=880, usd=1.32, days=20.0,
                    accounts=9)],
    findings=[Finding(id="cheap-copy", severity="high", text="A copy is cheap.", remedy="Show less.")],
    majority=0.2,
    surfaces=[shown("guarded", "labels", "scores", decimals=2), shown("labels", "labels"),
              shown("top-1", "labels", "scores")],
    skipped=[Skipped("kink_search", "labels", "it needs scores, which aren't shown")],
    warnings=["pool: 3 of 50 rows are duplicates and were left out"], training_cost_usd=250_000.0,
    queries_asked=12_345, seconds=61.2)


def changed(**changes: Any) -> Audit:
    return msgspec.structs.replace(AUDIT, **changes)


def printed(audit: Audit) -> str:
    file = io.StringIO()
    report.show(audit, file)
    return file.getvalue()


def page(audit: Audit, tmp_path: Path) -> str:
    path = tmp_path / "new" / "audit.html"
    report.write(path, audit)
    return path.read_text(encoding="utf-8")


def test_an_audit_is_printed(golden: Callable[[str, str], None]) -> None:
    golden("audit.txt", printed(AUDIT))


def test_what_is_unknown_is_said() -> None:
    text = printed(changed(
        authorized_by="", training_cost_usd=0.0, control=Control(student="majority", rows=0, fidelity=0.4,
                                                                 accuracy=None),
        surfaces=[msgspec.structs.replace(AUDIT.surfaces[0], accuracy=None, label_unchanged=0.9)],
        findings=[], cheapest=[], skipped=[], warnings=[]))
    for expected in ("not reached", "the most frequent label alone agrees on 40.0%", "unknown", "90.0%",
                     "Nobody was named as authorising it."):
        assert expected in text
    assert "Training the model" not in text


def test_balanced_agreement_is_said() -> None:
    balanced = [msgspec.structs.replace(reach, is_balanced=True) for reach in AUDIT.cheapest]
    text = printed(changed(cheapest=balanced, majority=0.93))
    assert "The most frequent label alone agrees on 93.0%: up to there, balanced agreement is meant." in text


def test_a_copy_without_a_price_has_no_dollars() -> None:
    free = [msgspec.structs.replace(reach, usd=0.0, days=None) for reach in AUDIT.cheapest]
    text = printed(changed(cheapest=free, training_cost_usd=0.0))
    assert "$" not in text
    assert "At the configured limits" not in text


class Texts(HTMLParser):
    """The texts of a page's cells and notes, and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_has_a_curve_for_each_surface_that_was_tried(tmp_path: Path) -> None:
    seen = Texts(page(AUDIT, tmp_path))
    assert seen.tags.count("svg") == 2
    for text in ("What a copy of mymodel:predict costs", "A copy is cheap.", "Show less.",
                 "Agreement against queries, callers see 'guarded'",
                 "Agreement against queries, callers see 'labels'",
                 "Mind: pool: 3 of 50 rows are duplicates and were left out.",
                 "kink_search: it needs scores, which aren't shown."):
        assert text in seen.texts
    joined = " ".join(seen.texts)
    assert "configuration 0123456789abcdef" in joined
    assert "counterclone audit --seed 7" in joined
    assert "Authorised by the owner. Surrogates were dropped once they were measured." in joined


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    text = page(AUDIT, tmp_path)
    assert not re.search(r"https?:|//|@import|<(script|img|link|iframe|object|embed|image)\b|src=", text)
    assert set(re.findall(r"url\(([^)]*)\)", text)) <= set(re.findall(r"url\((#[^)]*)\)", text))
    assert all(reference.startswith("#") for reference in re.findall(r'href="([^"]*)"', text))


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "\"onload='x", "$x$ \\frac", "&amp;", "a_^b"])
def test_names_are_no_markup(tmp_path: Path, hostile: str) -> None:
    strange = [msgspec.structs.replace(trial, attack=hostile, surface=hostile) for trial in trials("x", 0.5, 0.7)]
    audit = changed(target=hostile, trials=strange, cheapest=[],
                    surfaces=[msgspec.structs.replace(AUDIT.surfaces[0], name=hostile)])
    seen = Texts(page(audit, tmp_path))
    assert "script" not in seen.tags
    assert seen.texts.count(hostile) >= 2  # the table's row and the legend
    printed(audit)


# The drawing

def points(*lines: Any) -> list[Point]:
    return [Point(attack=attack, surface="full", budget=budget, queries=float(budget), usd=budget * price,
                  fidelity=fidelity, low=fidelity - 0.01, high=min(fidelity + 0.01, 1.0), balanced=fidelity,
                  n_seeds=3)
            for attack, budget, fidelity, price in lines]


def texts(svg: str) -> list[str]:
    return [(element.text or "").strip() for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]


def test_a_curve_has_a_line_for_each_attack_the_best_first() -> None:
    svg = curves(points(("a", 65, 0.5, 0), ("a", 650, 0.9, 0), ("b", 65, 0.95, 0)), 0.3, "full")
    found = texts(svg)
    assert found[-2:] == ["b", "a"]
    for expected in ("65", "650", "queries", "agreement with the target", "without any answer", "100%"):
        assert expected in found
    assert not any(text.startswith("$") for text in found)


def test_dollars_stand_above_where_a_query_has_a_price() -> None:
    found = texts(curves(points(("a", 100, 0.5, 0.0015), ("a", 1000, 0.9, 0.0015)), 0.3, "full"))
    assert {"$0.15", "$1.50"} <= set(found)


def test_the_drawing_takes_the_pages_colours_and_is_described() -> None:
    svg = curves(points(("a", 100, 0.5, 0), ("a", 1000, 0.9, 0)), 0.3, "decimals-2")
    assert "currentColor" in svg
    assert "var(--line)" in svg
    assert "#010203" not in svg
    element = ET.fromstring(svg)
    assert element.attrib["role"] == "img"
    assert element.attrib["aria-label"] == "Agreement with the target against queries, surface decimals-2"
    assert "viewBox" in element.attrib
    assert "width" not in element.attrib
    assert svg == curves(points(("a", 100, 0.5, 0), ("a", 1000, 0.9, 0)), 0.3, "decimals-2")


def test_many_attacks_are_told_apart() -> None:
    many = points(*((f"attack {i}", budget, 0.5 + i / 100, 0) for i in range(20) for budget in (10, 100)))
    svg = curves(many, 0.3, "full")
    assert sum(text.startswith("attack ") for text in texts(svg)) == 20

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.console.scene import HOSTILE

from counterclone.console.drawings import MOST_ACCOUNTS, MOST_PICTURES, Pictures, graph, sparkline
from counterclone.console.sheets import Tie


def elements(svg: str, name: str) -> list[ET.Element]:
    return [each for each in ET.fromstring(svg).iter() if each.tag.rpartition("}")[2] == name]


def titles(svg: str) -> list[str]:
    return [each.text or "" for each in elements(svg, "title")]


@given(st.lists(st.floats(0.0, 1.0), max_size=40), st.floats(0.0, 0.5))
def test_a_curve_stays_inside(p_values: Sequence[float], level: float) -> None:
    svg = sparkline([(5 * i, p_value) for i, p_value in enumerate(p_values, start=1)], level)
    (line,) = elements(svg, "polyline")
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert len(points) == len(p_values)
    assert all(0.0 <= x <= 96.0 and 0.0 <= y <= 24.0 for x, y in points)


def test_a_small_p_value_is_high() -> None:
    (line,) = elements(sparkline([(5, 1.0), (10, 0.001)], 0.01), "polyline")
    first, last = (float(point.split(",")[1]) for point in line.attrib["points"].split())
    assert last < first


def test_each_link_says_its_evidence() -> None:
    svg = graph(["ann", "bob", HOSTILE], [Tie(kind="payment", accounts=["ann", HOSTILE], weight=4.21)])
    assert {"ann, payment: 4.2 nats of evidence each", f"{HOSTILE}, payment: 4.2 nats of evidence each",
            "bob, ask in one way"} <= set(titles(svg))
    assert len(elements(svg, "line")) == 3


@pytest.mark.parametrize("n", [0, 1, 500])
def test_any_campaign_can_be_drawn(n: int) -> None:
    names = [f"a{i}" for i in range(n)]
    ties = [Tie(kind=f"kind {i}", accounts=names[i:], weight=1.0) for i in range(n)]
    svg = graph(names, ties)
    assert len([each for each in elements(svg, "g") if each.attrib["class"] == "member"]) == min(n, MOST_ACCOUNTS)


def test_pictures_are_documents_and_the_oldest_go() -> None:
    pictures = Pictures()
    first = pictures.keep('<svg viewBox="0 0 1 1"><text>a &gt; b</text></svg>')
    found = pictures.find(first)
    assert found is not None
    assert elements(found, "text")[0].text == "a > b"
    assert "prefers-color-scheme:dark" in found
    names = [pictures.keep(f'<svg viewBox="0 0 1 {i}"></svg>') for i in range(MOST_PICTURES)]
    assert pictures.find(first) is None
    assert pictures.find(names[0]) is not None

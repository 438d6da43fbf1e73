from __future__ import annotations

import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from tests.posture.known import (
    AUDIT,
    CHOSEN,
    DECIDED,
    FACTS,
    IN_PLACE,
    OPENED,
    OUTLOOK,
    TRAFFIC,
    facts,
    with_audit,
)

from counterclone.posture import Epoch, Facts, Posture, Version, controls, risks
from counterclone.prove.timestamps import Stamp
from counterclone.report import posture as report

HOSTILE = ("<script>alert(1)</script>", "\"onload='x'", "&amp;", "</table></section>", "$title ${body} $$",
           "[red]x[/red]", "a\nb", "\x1b[31mred", "\u202eright to left")


def posture_of(known: Facts) -> Posture:
    return Posture(facts=known, controls=controls(known), risks=risks(known))


def printed(known: Facts) -> str:
    file = io.StringIO()
    report.show(posture_of(known), file)
    return file.getvalue()


class Elements(HTMLParser):
    """Tags with their attributes, and texts, as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(" ".join([tag, *(name for name, _ in attrs)]))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def words(self) -> str:
        return " | ".join(text for text in self.texts if text.strip())


def seen(known: Facts) -> Elements:
    return Elements(report.page(posture_of(known)))


NOTHING = facts(audit=None, chosen=None, history=(), n_versions=0, traffic=None, cases=(), epochs=(), outlook=(),
                target="")


def test_where_it_stands_is_printed(golden: Callable[[str, str], None]) -> None:
    golden("posture.txt", printed(facts(cases=(OPENED, DECIDED))))


def test_it_is_one_json_object(golden: Callable[[str, str], None]) -> None:
    encoded = msgspec.json.encode(posture_of(facts(cases=(OPENED,))))
    assert msgspec.json.decode(encoded, type=Posture) == posture_of(facts(cases=(OPENED,)))
    golden("posture.json", msgspec.json.format(encoded, indent=1).decode() + "\n")


def test_the_page_tells_everything() -> None:
    words = seen(facts(cases=(OPENED, DECIDED))).words
    for expected in (
            "Model stealing: the posture of http://127.0.0.1:9000", "no legal advice",
            "on 2025-11-26 12:00 UTC from counterclone.toml, configuration fedcba9876543210",
            "880 queries, $1.32 (knockoff)", "agrees on 93.1%; without any answer 75.0%",
            "A copy is cheap. Show less.",
            "queries per day: 20,000; copy share per day: 44", "from risk 1: throttle", "cases, a webhook",
            "[guard] policy", "served 12,000, limited 345", "fedcba9876543210 | 440 | 7,040 | 50%",
            "alarm: its queries are odd. jo: asked them | undecided", "0000000000000000 and 29 more",
            "CN=tsa had it on 2025-11-17 12:00 UTC", "1, triggers | 52 | 4 | 34 | 20 | 0 | 96% | 1",
            "OWASP AISVS C11.5.1 (1.0: C11.2.2)", "Waiting for somebody's decision: 1 case."):
        assert expected in words


def test_what_is_not_there_is_said_with_what_to_do() -> None:
    words = seen(NOTHING).words
    for expected in ("the posture of counterclone.toml", "none has run: run `counterclone audit`",
                     "none: run `counterclone tune`", "nothing is journalled: run `counterclone guard`",
                     "No guard has run with this file",
                     "0 cases", "none: a guard with [[mark]] makes one at its start"):
        assert expected in words
    assert "unknown: no audit has run" in printed(NOTHING)


def test_a_stale_audit_is_said_to_be_one() -> None:
    assert "stale: policies or rules have changed since" in printed(with_audit(is_current=False))
    words = seen(with_audit(is_current=False)).words
    assert "0123456789abcdef (now fedcba9876543210); policies and rules have changed since" in words
    same = with_audit(config_digest=FACTS.config_digest)
    assert "fedcba9876543210 (the present one); policies and rules are the same" in seen(same).words


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, "'rounding 2', it is in place: the hardest to copy within the limits (2025-11-21 12:00 UTC)"),
    ({"is_in_place": False}, "'rounding 2', it isn't in place now: the hardest"),
    ({"name": "", "reason": "accuracy binds"}, "none: accuracy binds")])
def test_what_a_sweep_chose_is_said(changes: dict[str, Any], expected: str) -> None:
    assert expected in seen(facts(chosen=msgspec.structs.replace(CHOSEN, **changes))).words


def test_a_copy_that_was_not_reached_is_no_safety() -> None:
    assert "wasn't reached; the nearest one agrees on 93.1%" in printed(with_audit(copies=()))


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, "is likely for a copy of what 1 account got, if it learnt 50% of the marks"),
    ({"found": 0, "most": 12, "power": 0.41}, "may fail: 41% for a copy of what the account with the most marked"),
    ({"found": 0, "most": 12, "power": 0.41}, "which lacks 8"),
    ({"found": 0, "needed": None, "power": 0.0}, "which lacks thousands")])
def test_what_a_proof_lacks_is_said(changes: dict[str, Any], expected: str) -> None:
    words = seen(facts(outlook=(msgspec.structs.replace(OUTLOOK, **changes),))).words
    assert expected in words


def test_what_could_not_be_read_is_said_first() -> None:
    text = printed(facts(problems=("ledger: one of the first 3 records was changed",)))
    assert "Not read: ledger: one of the first 3 records was changed." in text


def test_undecided_cases_come_first_and_not_all_are_shown() -> None:
    many = [msgspec.structs.replace(DECIDED, id=f"{number:08x}") for number in range(30)]
    words = seen(facts(cases=(*many, OPENED))).words
    assert words.index("7f07f91d") < words.index("00000000")
    assert "11 more are in --json." in words


@pytest.mark.parametrize("seconds", [1e300, -1e300])
def test_a_time_that_is_none_is_said(seconds: float) -> None:
    history = (Version(since=seconds, digest="x", changed=()),)
    assert "no time" in seen(facts(history=history)).words


def hostile(text: str) -> Facts:
    """Facts with a text wherever callers, whoever takes notes, or a file beside the configuration may write."""
    audit = msgspec.structs.replace(
        AUDIT, target=text, surface=text, attacks=(text,), config_digest=text,
        findings=(msgspec.structs.replace(AUDIT.findings[0], text=text, remedy=text),))
    traffic = msgspec.structs.replace(
        TRAFFIC, models=(text,), decisions={text: 1},
        busiest=(msgspec.structs.replace(TRAFFIC.busiest[0], account=text, copy_share=2.0),))
    case = msgspec.structs.replace(
        OPENED, id=text, accounts=(text,), notes=[msgspec.structs.replace(OPENED.notes[0], text=text, by=text)],
        evidence=[msgspec.structs.replace(OPENED.evidence[0], reasons=(text,))])
    return facts(
        file=text, target=text, audit=audit, chosen=msgspec.structs.replace(CHOSEN, name=text, reason=text),
        traffic=traffic, cases=(case,), problems=(text,),
        history=(Version(since=1.0, digest=text, changed=(text,)),),
        in_place=msgspec.structs.replace(IN_PLACE, policies=(text,), classes=(text,), marks=(text,)),
        epochs=(Epoch(number=1, created=1.0, digest=text, marks=(text,), timestamp=Stamp(1.0, text)),),
        outlook=(msgspec.structs.replace(OUTLOOK, kind=text),))


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_others_wrote_is_more_than_text(text: str) -> None:
    plain, found = seen(hostile("x")), seen(hostile(text))
    assert found.tags == plain.tags
    assert found.words.count(text) >= 20
    shown = printed(hostile(text))
    assert all(char.isprintable() or char == "\n" for char in shown)


def test_the_page_needs_nothing_from_outside() -> None:
    text = report.page(posture_of(NOTHING))
    assert not re.search(r"https?:|//|url\(|@import|<(script|img|link|iframe|object|embed)|src=|href=", text)
    assert "default-src 'none'" in text
    assert "@media print" in text

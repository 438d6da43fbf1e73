from __future__ import annotations

import re

import msgspec
import pytest
from tests.posture.known import AUDIT, DAY, DECIDED, FACTS, NOW, OPENED, OUTLOOK, facts, with_audit, with_settings

from counterclone.posture import Control, Facts, controls

NAMES = {"audited": "The model is attacked", "callers": "Callers are known", "limits": "Limits for each",
         "coarse": "Answers show", "log": "Who asked what", "detector": "Query patterns", "alerts": "Alerts say",
         "response": "A suspicion", "marks": "Copies can be told", "versions": "Settings change",
         "changes": "Changes are", "rollback": "An earlier version"}
EPOCH = FACTS.epochs[0]


def control(known: Facts, name: str) -> Control:
    found, = (each for each in controls(known) if each.name.startswith(NAMES[name]))
    return found


def test_every_control_has_its_frameworks() -> None:
    asked = " ".join(reference for each in controls(FACTS) for reference in each.references)
    for number in ("C11.5.1", "C11.5.2", "C11.5.3", "C11.5.4", "C11.7.1", "C11.7.2", "C11.7.3"):
        assert len(re.findall(rf"AISVS {number}\b", asked)) == 1
    assert "MITRE ATLAS AML.T0024.002" in asked
    assert "NIST AI 100-2" in asked


def test_all_is_in_place_but_what_no_file_can_show() -> None:
    assert [each.name for each in controls(FACTS) if each.standing != "in place"] == [
        "Changes are authorised, protected and checked before they apply", "An earlier version can be put back"]


@pytest.mark.parametrize("known", [FACTS, facts(
    audit=None, traffic=None, cases=(), history=(), n_versions=0, epochs=(), outlook=(),
    in_place=msgspec.structs.replace(FACTS.in_place, limits={}, total_limits={}, policies=(), marks=(), journal="",
                                     is_watched=False, told=(), is_open=True, enforces=False))],
    ids=["everything", "nothing"])
def test_what_is_not_in_place_has_a_remedy(known: Facts) -> None:
    for each in controls(known):
        assert each.why.endswith((".", "…"))
        assert bool(each.remedy) == (each.standing != "in place")


@pytest.mark.parametrize(("name", "known", "standing", "why"), [
    ("audited", facts(audit=None), "missing", "No audit of this file has run."),
    ("audited", with_audit(is_current=False), "partly", "have changed since"),
    ("audited", with_audit(time=NOW - 91 * DAY), "partly", "91 days ago"),
    ("audited", with_audit(time=NOW - 89 * DAY), "in place", "hard_label, knockoff"),
    ("callers", with_settings(is_open=True), "partly", "as many accounts as they like"),
    ("limits", with_settings(limits={}, total_limits={}), "missing", "No limit is set."),
    ("limits", with_settings(limits={}), "partly", "none is sized by an audit"),
    ("limits", with_settings(limits={"limit_queries_per_day": 1.0}), "partly", "none is sized by an audit"),
    ("limits", with_settings(total_limits={}), "partly", "none of all accounts together"),
    ("limits", with_settings(enforces=False), "partly", "shadow mode enforces none"),
    ("coarse", with_settings(policies=()), "missing", "as the model gives them"),
    ("coarse", with_settings(enforces=False), "partly", "shadow mode"),
    ("coarse", facts(audit=None), "partly", "isn't measured"),
    ("coarse", with_audit(is_current=False), "partly", "isn't measured"),
    ("log", with_settings(journal=""), "missing", "No journal is kept."),
    ("log", facts(traffic=None), "partly", "nothing is in it"),
    ("detector", with_settings(is_watched=False), "partly", "`counterclone watch` can read"),
    ("detector", with_settings(is_watched=False, journal=""), "missing", "Nothing is journalled"),
    ("alerts", with_settings(told=()), "partly", "nobody is told"),
    ("alerts", with_settings(is_watched=False), "partly", "1 case so far"),
    ("alerts", facts(cases=(), in_place=msgspec.structs.replace(FACTS.in_place, is_watched=False)), "missing",
     "Nothing raises alarms."),
    ("response", with_settings(acts=False), "partly", "Only what somebody decides"),
    ("response", with_settings(enforces=False), "partly", "Only what somebody decides"),
    ("marks", with_settings(marks=()), "missing", "No answer carries a mark"),
    ("marks", facts(epochs=()), "partly", "no key was committed to"),
    ("marks", facts(epochs=(msgspec.structs.replace(EPOCH, timestamp=None),)), "partly", "no authority"),
    ("marks", facts(outlook=(msgspec.structs.replace(OUTLOOK, found=0),)), "partly", "no account was served"),
    ("versions", facts(history=()), "partly", "none has run"),
    ("versions", facts(config_digest="0" * 16), "partly", "the file is 0000000000000000 now"),
    ("changes", with_settings(is_writable_by_others=True), "partly", "Others than its owner may write it."),
    ("rollback", facts(n_versions=1), "missing", "No earlier version"),
])
def test_what_is_missing_is_said(name: str, known: Facts, standing: str, why: str) -> None:
    found = control(known, name)
    assert found.standing == standing
    assert why in found.why


def test_a_version_that_came_back_shows_that_one_can_be() -> None:
    history = (*FACTS.history, msgspec.structs.replace(FACTS.history[0], since=NOW))
    found = control(facts(history=history, n_versions=3), "rollback")
    assert found.standing == "in place"
    assert f"{FACTS.history[0].digest} was put back" in found.why


def test_an_undecided_suspicion_is_said_though_tiers_act() -> None:
    found = control(facts(cases=(OPENED, DECIDED)), "response")
    assert found.standing == "in place"
    assert "Undecided: 1 case." in found.why
    assert "counterclone cases list" in found.remedy


def test_the_audit_is_of_its_target_and_surface() -> None:
    assert f"'{AUDIT.surface}'" in control(FACTS, "audited").why

from __future__ import annotations

import os
import stat
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from counterclone import config
from counterclone.errors import SourceError
from counterclone.watch import cases as module
from counterclone.watch.cases import Case, CaseFile, Decision, Evidence, Tie, class_table

ANN, BOB = "0123456789abcdef", "fedcba9876543210"
ALARM = Evidence(kind="alarm", reasons=("its queries are far from any class",), queries=40, risk=1.0, p_value=1e-4,
                 figures={"leaked_bits": 512.0})
REVIEW = Evidence(kind="review", reasons=("its risk reached 0.5",), risk=0.6)


@pytest.fixture(name="path")
def fixture_path(tmp_path: Path) -> Path:
    return tmp_path / "cases.jsonl"


def opened(path: Path, *accounts: str) -> tuple[CaseFile, Case]:
    cases = CaseFile(path, clock=lambda: 1000.0)
    case = cases.open(accounts or [ANN], ALARM)
    assert case is not None
    return cases, case


# Opening

def test_an_alarm_becomes_a_case_that_others_read(path: Path) -> None:
    _, case = opened(path)
    found = CaseFile(path).all()
    assert found == [Case(id=case.id, opened=1000.0, accounts=(ANN,), evidence=[ALARM])]
    assert len(case.id) == 8
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_file_is_no_cases(path: Path) -> None:
    cases = CaseFile(path)
    assert (cases.all(), cases.held(), cases.decision(ANN), cases.last_error) == ([], frozenset(), None, None)
    assert not path.exists()


def test_an_account_has_one_case_with_the_first_evidence_of_each_kind(path: Path) -> None:
    cases, case = opened(path)
    assert cases.open([ANN], ALARM) is None
    added = cases.open([ANN], REVIEW)
    assert added is not None
    assert (added.id, added.evidence) == (case.id, [ALARM, REVIEW])
    assert cases.open([ANN], REVIEW) is None
    other = cases.open([BOB], ALARM)
    assert other is not None
    assert [each.id for each in cases.all()] == [case.id, other.id]


def test_a_campaigns_case_is_that_of_its_accounts(path: Path) -> None:
    cases, case = opened(path, ANN, BOB)
    added = cases.open([BOB], REVIEW)
    assert added is not None
    assert added.id == case.id
    wider = cases.open([ANN, BOB, "other"], ALARM)
    assert wider is not None
    assert wider.id != case.id


def test_of_allowed_accounts_nothing_is_opened(path: Path) -> None:
    cases, case = opened(path)
    cases.decide(case.id, "allow", by="jo")
    assert cases.open([ANN], REVIEW) is None


def test_processes_at_once_open_one_case(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: CaseFile(path).open([ANN], ALARM), range(40)))
    assert sum(case is not None for case in found) == 1
    assert len(CaseFile(path).all()) == 1


# Notes, decisions, holds

def test_what_was_noted_and_decided_is_kept_in_order(path: Path) -> None:
    cases, case = opened(path)
    cases.note(case.id, "asked them\nin two lines", by="jo")
    cases.note(ANN, "they answered", by="al")
    cases.decide(case.id, "throttle", by="jo")
    cases.decide(case.id, "block", by="jo")
    found = CaseFile(path).find(case.id)
    assert [(note.text, note.by) for note in found.notes] == [
        ("asked them\nin two lines", "jo"), ("they answered", "al")]
    assert found.decision == "block"
    assert len(path.read_text().splitlines()) == 5  # nothing is taken away


@pytest.mark.parametrize("decision", module.DECISIONS)
def test_a_decision_is_known_to_other_processes_within_a_second(
        path: Path, decision: Decision, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, case = opened(path, ANN, BOB)
    guard = CaseFile(path)
    assert guard.decision(ANN) is None
    cases.decide(case.id, decision, by="jo")
    assert guard.decision(ANN) is None  # a look a second
    monkeypatch.setattr(module, "RELOAD_SECONDS", 0.0)
    assert [guard.decision(account) for account in (ANN, BOB, "other")] == [decision, decision, None]


def test_the_last_decision_of_an_account_counts(path: Path) -> None:
    cases, one = opened(path, ANN, BOB)
    two = cases.open([ANN, "other"], ALARM)
    assert two is not None
    cases.decide(one.id, "block", by="jo")
    cases.decide(two.id, "review", by="jo")
    fresh = CaseFile(path)
    assert [fresh.decision(account) for account in (ANN, BOB, "other")] == ["review", "block", "review"]


def test_an_account_without_a_case_is_held_by_its_id(path: Path) -> None:
    cases = CaseFile(path)
    held = cases.hold(BOB, is_held=True, by="jo")
    assert held.accounts == (BOB,)
    assert [(each.kind, each.reasons) for each in held.evidence] == [("dispute", ("held by jo",))]
    assert cases.hold(BOB, is_held=True, by="jo").id == held.id
    assert CaseFile(path).held() == {BOB}
    assert not cases.hold(BOB, is_held=False, by="jo").is_held
    with pytest.raises(SourceError, match="no case"):
        cases.hold(ANN, is_held=False, by="jo")
    with pytest.raises(SourceError, match="no case"):
        cases.hold("ann", is_held=True, by="jo")


def test_a_hold_begins_and_ends(path: Path) -> None:
    cases, case = opened(path, ANN, BOB)
    assert cases.held() == frozenset()
    cases.hold(case.id, is_held=True, by="jo")
    assert CaseFile(path).held() == {ANN, BOB}
    cases.hold(case.id, is_held=False, by="jo")
    assert CaseFile(path).held() == frozenset()


def test_a_case_that_is_not_there_is_one_line(path: Path) -> None:
    cases, _ = opened(path)
    message = r"^[^\n]*no case 'nobody' and none of an account[^\n]*cases list[^\n]*$"
    with pytest.raises(SourceError, match=message):
        cases.find("nobody")
    with pytest.raises(SourceError, match=message):
        cases.note("nobody", "x", by="jo")


def test_an_account_finds_its_last_case(path: Path) -> None:
    cases, _ = opened(path, ANN, BOB)
    wider = cases.open([ANN, BOB, "other"], ALARM)
    assert wider is not None
    assert cases.find(ANN).id == wider.id


# Bad files

@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff", b'{"event": "later"}', b"[" * 100_000,
                                  b'{"event": "noted", "time": 1, "case": "x", "text": "t", "by": "b"}',
                                  b'{"event": "decided", "time": 1, "case": "x", "decision": "ban", "by": "b"}'],
                         ids=["cut", "list", "no text", "of later", "deep", "of nobody", "no decision"])
def test_a_bad_line_is_told_and_skipped(path: Path, line: bytes) -> None:
    cases, case = opened(path)
    with path.open("ab") as file:
        file.write(line + b"\n")
    cases.decide(case.id, "block", by="jo")
    fresh = CaseFile(path)
    assert fresh.find(case.id).decision == "block"
    assert [problem.partition(":")[0] for problem in fresh.problems] == ["line 2"]


def test_half_a_line_of_somebody_who_died_is_ended_first(path: Path) -> None:
    cases, case = opened(path)
    with path.open("ab") as file:
        file.write(b'{"event": "deci')
    cases.decide(case.id, "block", by="jo")
    assert CaseFile(path).find(case.id).decision == "block"


def test_what_was_decided_stays_where_the_file_cannot_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RELOAD_SECONDS", 0.0)
    cases, case = opened(path)
    cases.decide(case.id, "block", by="jo")
    assert cases.decision(ANN) == "block"
    path.unlink()
    path.mkdir()
    assert cases.decision(ANN) == "block"
    assert cases.last_error is not None
    with pytest.raises(SourceError, match="Is a directory"):
        cases.held()  # so that no retention removes anything
    with pytest.raises(SourceError, match="make it writable"):
        cases.open([BOB], ALARM)
    path.rmdir()
    assert cases.decision(ANN) is None
    assert cases.last_error is None


def test_a_disk_that_takes_half_a_line_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, case = opened(path)
    with monkeypatch.context() as patched:
        patched.setattr("os.write", lambda descriptor, line: os.writev(descriptor, [line[:9]]))
        with pytest.raises(SourceError, match="half a line"):
            cases.decide(case.id, "block", by="jo")
    cases.decide(case.id, "allow", by="jo")
    assert CaseFile(path).find(case.id).decision == "allow"


# What an honest user's case ends in

def test_the_table_of_an_honest_user_is_one_that_the_configuration_takes(path: Path) -> None:
    _, case = opened(path, ANN, BOB)
    read = config.parse(tomllib.loads(class_table(case)), {}, "counterclone.toml")
    group, = read.accounts.class_
    assert (group.name, group.accounts) == (f"case-{case.id}", (f"account:{ANN}", f"account:{BOB}"))


# An account alone

def test_an_account_of_a_campaign_gets_a_case_of_its_own(path: Path) -> None:
    cases, campaign = opened(path, ANN, BOB)
    own = cases.take_up(ANN, by="eve")
    assert own.id != campaign.id
    assert own.accounts == (ANN,)
    assert own.evidence == [Evidence(kind="review", reasons=("taken up by eve",))]
    cases.decide(own.id, "block", by="eve")
    assert [CaseFile(path).decision(account) for account in (ANN, BOB)] == ["block", None]


def test_an_account_is_taken_up_once(path: Path) -> None:
    cases, case = opened(path)
    assert cases.take_up(ANN, by="eve").id == case.id
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda i: CaseFile(path).take_up(BOB, by=f"{i}").id, range(20)))
    assert len(found) == 1
    assert len(CaseFile(path).all()) == 2


def test_what_links_a_campaign_is_kept_with_it(path: Path) -> None:
    evidence = Evidence(kind="campaign", ties=(Tie(kind="ip", accounts=(ANN, BOB), weight=4.5),))
    CaseFile(path).open([ANN, BOB], evidence)
    (case,) = CaseFile(path).all()
    assert case.evidence == [evidence]

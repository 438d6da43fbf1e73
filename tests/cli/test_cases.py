from __future__ import annotations

import contextlib
import json
import re
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.cli.running import ANN, failure, json_output, output, write

from counterclone import config
from counterclone.journal import Exchange, JournalWriter
from counterclone.watch.cases import CaseFile, Evidence


def opened(*accounts: str) -> str:
    """A case of accounts, as a guard opens it; its id."""
    case = CaseFile(Path("counterclone.cases.jsonl")).open(accounts or (ANN,), Evidence(
        kind="alarm", reasons=("its queries are odd",), queries=1200, risk=1.0, p_value=0.001,
        figures={"leaked_bits": 512.0}))
    assert case is not None
    return case.id


def test_cases_are_listed_and_shown() -> None:
    write("")
    assert "0 cases" in output("cases", "list")
    one, two = opened(), opened(*(f"{number:016x}" for number in range(30)))
    listed = output("cases", "list")
    assert "2 cases" in listed
    assert re.search(rf"{one} .* alarm .* {ANN} .* open", listed)
    assert re.search(rf"{two} .* 0000000000000000 and 29 more .* open", listed)
    for name in (one, ANN):
        shown = output("cases", "show", name)
        assert f"Case {one}" in shown
        for text in (ANN, "its queries are odd", "queries 1,200, risk 1.00, p-value 0.001, leaked bits 512"):
            assert text in shown


def test_cases_as_json() -> None:
    write("")
    case = opened()
    listed = json_output("cases", "list")
    assert (listed["problems"], [each["id"] for each in listed["cases"]]) == ([], [case])
    shown = json_output("cases", "show", case)
    assert shown == listed["cases"][0]
    assert shown["evidence"] == [{"kind": "alarm", "reasons": ["its queries are odd"], "queries": 1200,
                                  "risk": 1.0, "p_value": 0.001, "figures": {"leaked_bits": 512.0}}]
    assert json_output("cases", "note", case, "asked", "--by", "jo")["notes"][0]["by"] == "jo"
    assert json_output("cases", "hold", case)["is_held"] is True
    assert json_output("cases", "hold", case, "--release")["is_held"] is False
    decided = json_output("cases", "decide", case, "block")
    assert (decided["case"]["decision"], decided["class"]) == ("block", None)


def test_what_is_noted_is_shown_with_whose_word_it_is() -> None:
    write("")
    case = opened()
    assert output("cases", "note", case, "asked them", "--by", "jo") == f"Case {case}: noted.\n"
    assert output("cases", "hold", case) == f"Case {case}: its exchanges are held.\n"
    shown = output("cases", "show", case)
    assert re.search("note by jo .* asked them", shown)
    assert re.search("exchanges held +yes", shown)


def test_an_honest_users_case_ends_in_a_class_that_the_file_takes() -> None:
    write("")
    case = opened()
    text = output("cases", "decide", case, "allow")
    assert text.startswith(f"Case {case}: allow.\nAdd this to counterclone.toml")
    table = text[text.index("[["):]
    write(table)
    assert config.load(Path("counterclone.toml")).accounts.class_[0].accounts == (f"account:{ANN}",)
    assert json_output("cases", "decide", case, "allow")["class"] == table


def test_to_throttle_takes_a_tier_that_says_how() -> None:
    write("")
    case = opened()
    problem, = failure("cases", "decide", case, "throttle")
    assert "no [[guard.tier]] has action = 'throttle'" in problem
    write("[[guard.tier]]\nrisk = 1\naction = 'throttle'\nlimit_queries_per_minute = 2")
    assert output("cases", "decide", case, "throttle") == f"Case {case}: throttle.\n"


def test_a_case_is_exported_with_what_was_journalled() -> None:
    write("")
    case = opened()
    with contextlib.closing(JournalWriter("journal", "w")) as journal:
        for number, account in enumerate([ANN, "fedcba9876543210", ANN]):
            journal.append(Exchange(time=1_764_158_400.0 + number, account=account, account_class="",
                                    dialect="oip", model="", decision="served", status=200,
                                    digests=[number + 1], labels=[0], margins=[0.5], n_classes=2, bits=1.0))
    assert output("cases", "export", case, "case.zip") == f"Wrote case {case} and 2 exchanges to case.zip\n"
    with zipfile.ZipFile("case.zip") as archive:
        assert json.loads(archive.read("case.json"))["id"] == case
        assert pq.read_table(archive.open("exchanges.parquet"))["digest"].to_pylist() == [1, 3]
    assert failure("cases", "export", case, "case.zip") == [
        "counterclone: case.zip: File exists; name another file"]
    assert json_output("cases", "export", case, "again.zip") == {"case": case, "file": "again.zip", "exchanges": 2}


@pytest.mark.parametrize("arguments", [
    ["show", "x"], ["note", "x", "text"], ["decide", "x", "block"], ["hold", "x"], ["export", "x", "x.zip"]],
    ids=lambda arguments: arguments[0])
def test_a_case_that_is_not_there_is_two_and_one_line(arguments: list[str]) -> None:
    write("")
    problem, = failure("cases", *arguments)
    assert "no case 'x' and none of an account of that name" in problem
    assert not Path("x.zip").exists()

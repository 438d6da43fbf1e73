from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from counterclone import cli
from counterclone.journal import Exchange, JournalWriter
from counterclone.randomness import Generator, generator
from counterclone.watch.cases import CASES_FILE, CaseFile
from counterclone.watch.importers import FORMATS

NOON = 1_764_158_400.0
DAYS = 30.0
RATE = 60.0
"""With 41 accounts in 30 days an account's level is .06, which 50 honest accounts can support."""


def account(name: str, rng: Generator, *, n: int, shift: float) -> Iterator[dict[str, Any]]:
    """One account's exchanges: numbers about its own taste, answered by the sign of the first."""
    taste = shift + 0.3 * rng.standard_normal(4)
    times = NOON + 86_400.0 * DAYS * np.sort(rng.random(n))
    for moment, row in zip(times.tolist(), (taste + rng.standard_normal((n, 4))).tolist(), strict=True):
        share = round(float(1.0 / (1.0 + np.exp(-row[0]))), 6)
        yield {"time": round(moment, 3), "account": name,
               "query": {"features": [round(value, 3) for value in row]},
               "answer": {"scores": [round(1.0 - share, 6), share]}, "meta": {"ip": f"10.0.0.{len(name)}"}}


def population(seed: int, n: int, prefix: str) -> list[dict[str, Any]]:
    rng = generator(seed, "command")
    return [line for i in range(n)
            for line in account(f"{prefix}{i}", rng, n=int(rng.integers(8, 30)), shift=0.0)]


def in_order(lines: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in sorted(lines, key=lambda line: line["time"]))


BENIGN = in_order(population(1, 100, "honest "))
COPIER = list(account("copier", generator(2, "copier"), n=40, shift=6.0))
MIXED = in_order([*population(4, 40, "user "), *COPIER])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with traffic, honest traffic and a rate that they can support."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERCLONE_SECRET", "a secret of the tests")
    monkeypatch.delenv("COUNTERCLONE_CONFIG", raising=False)
    (tmp_path / "benign.jsonl").write_text(BENIGN)
    (tmp_path / "mixed.jsonl").write_text(MIXED)
    (tmp_path / "counterclone.toml").write_text(
        f"[watch]\nbenign = 'benign.jsonl'\nfalse_alarms_per_year = {RATE}\n"
        "detector = [{kind = 'typicality'}, {kind = 'residual'}]\n")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, arguments, prog_name="counterclone")


def json_output(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


# watch

def test_a_copier_is_alarmed_among_honest_accounts(golden: Callable[[str, str], None]) -> None:
    result = run("watch", "mixed.jsonl", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert set(found) == {"false_alarms_per_year", "lines_skipped", "accounts", "campaigns", "problems"}
    assert (found["false_alarms_per_year"], found["lines_skipped"], found["problems"]) == (RATE, 0, [])
    assert len(found["accounts"]) == 41
    copier = found["accounts"]["copier"]
    assert copier["alarm_at_query"] == 5
    assert (copier["queries"], copier["risk"]) == (40, 1.0)
    assert copier["leaked_bits"] == 40 * 64.0
    assert copier["reasons"]
    alarmed = [name for name, one in found["accounts"].items() if one["alarm_at_query"] is not None]
    assert len(alarmed) <= 8  # 2.5 honest ones expected
    assert result.stderr.startswith("ALARM: account copier at ")
    assert not Path(CASES_FILE).exists()  # the configured journal's alarms alone are cases
    golden("watch.json", json.dumps({**found, "accounts": {"copier": copier}}, indent=1) + "\n")


def test_an_alarm_is_printed_first_and_may_fail_the_command() -> None:
    result = run("watch", "mixed.jsonl", "--fail-on-alarm")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert "41 accounts, at 60 false alarms a year" in lines[0]
    assert re.search(r"^ +copier +40 +1\.00 +at 5 ", lines[4])
    assert "Who asks what honest users ask, slowly, isn't seen." in result.stdout


def test_honest_traffic_may_be_named() -> None:
    (Path.cwd() / "counterclone.toml").write_text(f"watch.false_alarms_per_year = {RATE}")
    found = json_output("watch", "mixed.jsonl", "--benign", "benign.jsonl")
    assert found["accounts"]["copier"]["alarm_at_query"] is not None


def test_without_any_a_source_is_compared_with_its_own_past() -> None:
    (Path.cwd() / "counterclone.toml").write_text(
        f"[watch]\nfalse_alarms_per_year = {4 * RATE}\ndetector = [{{kind = 'typicality'}}]")
    later = [{**line, "time": NOON + 86_400.0 * (DAYS / 2 + 14) + i} for i, line in enumerate(COPIER)]
    (Path.cwd() / "both.jsonl").write_text(BENIGN + in_order(later))
    accounts = json_output("watch", "both.jsonl")["accounts"]
    assert accounts["copier"]["alarm_at_query"] is not None
    assert sum(one["alarm_at_query"] is not None for one in accounts.values()) < 25  # 5.5 expected


def test_ten_honest_lines_are_no_reference_and_that_is_said() -> None:
    (Path.cwd() / "ten.jsonl").write_text("".join(BENIGN.splitlines(keepends=True)[:10]))
    found = json_output("watch", "mixed.jsonl", "--benign", "ten.jsonl")
    assert {one["risk"] for one in found["accounts"].values()} == {None}
    problem, = found["problems"]
    assert re.fullmatch(r"alarms at 60 false ones a year need honest accounts to compare with, and there are \d+; "
                        r"\d+ would do: name some with --benign or \[watch\] benign", problem)


def test_too_few_honest_accounts_for_the_rate_give_scores_and_no_alarm() -> None:
    (Path.cwd() / "counterclone.toml").write_text("")
    found = json_output("watch", "mixed.jsonl", "--benign", "benign.jsonl")
    copier = found["accounts"]["copier"]
    assert copier["alarm_at_query"] is None
    assert 0.3 < copier["risk"] < 1.0
    assert "alarms at 12 false ones a year need " in found["problems"][0]


def test_bad_lines_of_both_are_said_and_those_of_the_source_counted() -> None:
    for name in ("benign.jsonl", "mixed.jsonl"):
        with (Path.cwd() / name).open("a") as file:
            file.write('{"time": 5}\n')
    found = json_output("watch", "mixed.jsonl")
    assert found["lines_skipped"] == 1
    assert [problem.partition(":")[0] for problem in found["problems"]] == ["mixed.jsonl", "benign.jsonl"]


def test_classes_that_appear_later_and_clocks_that_jump_back_stop_nothing() -> None:
    swapped = [{**line, "time": NOON + i % 7, "answer": {"label": f"new {i % 3}"}}
               for i, line in enumerate(COPIER * 9)]
    (Path.cwd() / "swapped.jsonl").write_text(MIXED + "".join(json.dumps(line) + "\n" for line in swapped))
    problems = "\n".join(json_output("watch", "swapped.jsonl")["problems"])
    assert "labels that the reference never saw" in problems
    assert "are earlier than the one before of their account" in problems


def test_a_journal_is_watched_by_the_guards_accounts() -> None:
    journal = JournalWriter("journal", "w")
    for number, line in enumerate(map(json.loads, MIXED.splitlines())):
        scores = np.array([line["answer"]["scores"]])
        is_late = line["time"] > NOON + 43_200.0 * DAYS  # files of two hours are enough
        journal.append(Exchange(
            time=NOON + number + is_late * 86_400.0 * (DAYS - 1),
            account=line["account"].encode().hex()[:16], account_class="", dialect="predict",
            model="", decision="served", status=200, digests=[number], labels=scores.argmax(axis=1),
            margins=np.abs(np.diff(scores, axis=1))[:, 0], n_classes=2, bits=8.0,
            features=np.array([line["query"]["features"]])))
    journal.close()
    accounts = json_output("watch")["accounts"]
    assert accounts[b"copier".hex()]["alarm_at_query"] is not None
    cases = CaseFile(Path(CASES_FILE)).all()
    assert b"copier".hex() in {case.accounts[0] for case in cases}
    assert {case.evidence[0].kind for case in cases} == {"alarm"}
    json_output("watch")
    assert CaseFile(Path(CASES_FILE)).all() == cases  # an alarm is a case once


def test_another_systems_log_is_watched() -> None:
    log = [{"timestamp": NOON + i, "user": "ann", "request": {"prompt": f"question {i}"},
            "response": {"choices": [{"text": "answer"}]}} for i in range(3)]
    (Path.cwd() / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    assert json_output("watch", "log.jsonl")["accounts"]["ann"]["queries"] == 3
    assert json_output("watch", "log.jsonl", "--format", "lines")["lines_skipped"] == 3


def test_the_formats_are_the_importers() -> None:
    assert cli.FORMATS == FORMATS


def test_a_webhook_needs_its_secret() -> None:
    (Path.cwd() / "counterclone.toml").write_text("watch.webhook_url = 'http://127.0.0.1:9/'")
    result = run("watch", "mixed.jsonl")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "counterclone: [watch] webhook_secret_env: the variable COUNTERCLONE_WEBHOOK_SECRET: the webhook's secret "
        "is empty; put one of 24 bytes or more into its variable\n")


def test_following_goes_on_until_told_to_stop(folder: Path) -> None:
    half = MIXED.splitlines(keepends=True)
    (folder / "growing.jsonl").write_text("".join(half[:100]))
    command = [sys.executable, "-m", "counterclone", "watch", "growing.jsonl", "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stderr is not None
        time.sleep(0.2)
        with (folder / "growing.jsonl").open("a") as file:
            file.writelines(half[100:])
        alarm = following.stderr.readline()
        following.send_signal(signal.SIGTERM)
        stdout, _ = following.communicate(timeout=30)
    assert alarm.startswith("ALARM: account copier at ")
    assert following.returncode == 0
    assert json.loads(stdout)["accounts"]["copier"]["alarm_at_query"] is not None


# explain

def test_an_account_is_explained(folder: Path) -> None:
    found = json_output("explain", "copier", "mixed.jsonl", "--report", "page.html")
    assert (found["account"], found["standing"]["alarm_at_query"]) == ("copier", 5)
    assert {each["detector"] for each in found["detectors"]} == {"typicality", "residual"}
    assert all(len(each["honest"]) == each["n_honest"] for each in found["detectors"])
    assert [step["queries"] for step in found["course"]] == [5, 10, 15, 20, 30, 40]
    distance = found["figures"][-1]
    assert distance["name"] == "distance from the middle of honest inputs"
    assert distance["value"] > 3 * distance["high"]
    page = (folder / "page.html").read_text()
    assert page.count("<svg") == 2
    assert "Account copier" in page


def test_in_words() -> None:
    text = run("explain", "copier", "mixed.jsonl").stdout
    assert "yes, at query 5" in text
    assert "its queries " in text
    assert re.search(r"distance from the middle of honest inputs .* outside", text)


def test_the_odometer_tells_what_it_could_have_learnt() -> None:
    found = json_output("explain", "user 1", "mixed.jsonl", "--odometer")["odometer"]
    assert 8 <= found["queries"] <= 30
    assert found["fidelity_low"] <= found["fidelity"] <= found["fidelity_high"]
    assert 0.5 <= found["control"] < 1.0


def test_an_innocent_account_is_explained_too() -> None:
    accounts = json_output("watch", "mixed.jsonl")["accounts"]
    innocent = min(accounts, key=lambda name: accounts[name]["risk"])
    assert re.search(r"alarm +no", run("explain", innocent, "mixed.jsonl").stdout)


def test_without_a_reference_there_is_a_standing_and_no_page_of_pictures(folder: Path) -> None:
    (folder / "counterclone.toml").unlink()
    (folder / "one.jsonl").write_text(json.dumps(COPIER[0]) + "\n")
    result = run("explain", "copier", "one.jsonl", "--report", "page.html")
    assert result.exit_code == 0
    assert "no: there is no honest traffic to compare with" in result.stdout
    assert "<svg" not in (folder / "page.html").read_text()


def test_another_account_is_an_error() -> None:
    result = run("explain", "copiers", "mixed.jsonl")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == (
        "counterclone: there is no account 'copiers' among the 41 of this source; `counterclone watch` lists them")

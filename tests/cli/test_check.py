from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from tests.cli.running import failure, json_output, output, run, write

from counterclone import config

GOOD = """
[guard]
workers = 2
[[guard.policy]]
kind = "noise"
scale = 1
[[guard.rule]]
kind = "range"
low = -inf
high = [1, 2]
[[accounts.class]]
name = "partners"
accounts = ["key:a"]
policies = [{ kind = "labels" }]
"""


@pytest.mark.parametrize("text", ["", GOOD], ids=["empty", "full"])
def test_a_file_is_checked_and_printed_so_that_it_can_be_read_again(text: str) -> None:
    write(text)
    first = output("check")
    assert first.startswith(f"# counterclone.toml, digest {config.parse(tomllib.loads(text), {}, '').digest()}\n")
    write(first)
    assert output("check") == first


def test_what_is_printed_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    write(GOOD)
    monkeypatch.setenv("COUNTERCLONE_GUARD_ENFORCE", "false")
    printed = tomllib.loads(output("check"))
    assert printed["guard"]["enforce"] is False
    assert printed["guard"]["limit_queries_per_minute"] == 600
    assert printed["guard"]["policy"] == [{"kind": "noise", "scale": 1.0, "keep_order": 1}]


def test_a_check_as_json() -> None:
    write(GOOD)
    document = json_output("check")
    assert document["file"] == "counterclone.toml"
    assert document["config_digest"] == config.load(Path("counterclone.toml")).digest()
    assert document["config"]["guard"]["workers"] == 2


@pytest.mark.parametrize("how", ["option", "variable"])
def test_another_file_may_be_named(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write("target.epoch = 'other'", "other.toml")
    if how == "variable":
        monkeypatch.setenv("COUNTERCLONE_CONFIG", "other.toml")
    assert 'epoch = "other"' in output("check", *(["--config", "other.toml"] if how == "option" else []))


def test_a_broken_file_is_a_line_for_each_problem() -> None:
    write("gaurd = 1\n[guard]\nenforce = 'no'\npolicy = [{kind = 'roundng'}]")
    assert failure("check") == [
        "counterclone: counterclone.toml: unknown key `gaurd` (did you mean 'guard'?)",
        "counterclone: counterclone.toml: [guard] enforce: expected `bool`, got `str`",
        "counterclone: counterclone.toml: [[guard.policy]] 1: there is no 'roundng' among the policies (did you "
        "mean 'rounding'?); `counterclone list policies` shows them"]
    assert failure("check", "--json") == failure("check")


def test_settings_that_cannot_work_together_are_found() -> None:
    write("guard = {workers = 700}")
    assert failure("check") == [
        "counterclone: [guard] limit_queries_per_minute = 600 can't be split between 700 workers; raise it, set "
        "[guard] workers lower, or let them count together with [store]"]
    write("accounts.terms = '1'\nprove.timestamp_url = 'https://tsa.example.org/'")
    assert [line[14:55] for line in failure("check")] == [
        "[prove] timestamp_roots: is needed with t", "[accounts] terms: nobody vouches for open"]


def test_a_traceback_is_shown_with_debug_only() -> None:
    result = run("check", "--debug")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.splitlines()[-1] == failure("check")[-1]
    assert failure("check") == [
        "counterclone: counterclone.toml: No such file or directory; expected a configuration file; write one, or "
        "name it with --config or COUNTERCLONE_CONFIG"]

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.metadata
import json
import re
import socket
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
import uvicorn
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry
from tests.prove import authority

from counterclone import cli, config, plugins
from counterclone.compose import Guard
from counterclone.demo import ACTS
from counterclone.journal import Exchange, JournalWriter
from counterclone.testing.oip_server import Model, OipServer, Tensor
from counterclone.watch.cases import CaseFile, Evidence

KEY = re.compile(r"cc_live_[0-9a-f]{8}_[0-9a-f]{72}")
LINES = """\
{"time": 1764000000.0, "account": "busy", "query": {"features": [[0.1, 2.0], [1, 2]]}}
{"time": 1764000001.0, "account": "[red]quiet[/red]", "query": {"features": [0.1, 2.0]}, "answer": {"label": 1}}

not JSON
{"time": 1764000009.0, "account": "busy", "query": {"text": "hello"}, "meta": {"ip": "10.0.0.7"}}
"""


@pytest.fixture(autouse=True)
def fixture_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command runs in a folder of its own, with a secret, on a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("COUNTERCLONE_SECRET", "a secret of the tests")
    monkeypatch.delenv("COUNTERCLONE_CONFIG", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, arguments, prog_name="counterclone")


def output(*arguments: str) -> str:
    """Standard output of a command that succeeds and says nothing else."""
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


ANN = "0123456789abcdef"


def json_output(*arguments: str) -> Any:
    """The one JSON object on standard output."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    return document


def failure(*arguments: str, code: int = 2) -> list[str]:
    """The lines of a command that fails: nothing on standard output, no traceback."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()


def write(text: str, name: str = "counterclone.toml") -> None:
    Path(name).write_text(text, encoding="utf-8")


# Help

def verbs(group: click.Group = cli.cli, *path: str) -> list[tuple[str, ...]]:
    found = []
    for name, command in sorted(group.commands.items()):
        found += verbs(command, *path, name) if isinstance(command, click.Group) else [(*path, name)]
    return [path, *found] if path else found


GROUPS = {("keys",), ("keys", "marks"), ("cases",)}


def test_help_says_what_everything_does(golden: Callable[[str, str], None]) -> None:
    pages = [output(*verb, "--help") for verb in [(), *verbs()]]
    golden("cli_help.txt", "\n".join(pages))


@pytest.mark.parametrize("verb", [verb for verb in verbs() if verb not in GROUPS], ids=" ".join)
def test_every_verb_has_the_common_options(verb: tuple[str, ...]) -> None:
    text = output(*verb, "-h")
    assert all(option in text for option in ("--config FILE", "--json", "--seed INTEGER", "--debug"))


def test_the_version_is_the_packages() -> None:
    assert importlib.metadata.version("counterclone") in output("--version")


@pytest.mark.parametrize(("arguments", "message"), [
    (["chek"], "Error: No such command 'chek'. Did you mean 'check'?"),
    (["check", "--jsn"], "Error: No such option '--jsn'. Did you mean '--json'?"),
    (["list"], "Error: Missing argument 'FAMILY'."),
    (["check", "--seed", "x"], "Error: Invalid value for '--seed': 'x' is not a valid integer."),
], ids=["verb", "option", "argument", "value"])
def test_wrong_usage_is_two(arguments: list[str], message: str) -> None:
    assert failure(*arguments)[-1] == message


# list

@pytest.mark.parametrize("family", list(plugins.FAMILIES))
def test_a_family_is_listed(family: str) -> None:
    kinds = plugins.kinds(family)
    lines = output("list", family).splitlines()
    assert [line.split()[0] for line in lines] == kinds
    for kind, line in zip(kinds, lines, strict=True):
        assert line.endswith(plugins.load(family, kind).summary())


def test_a_family_is_listed_as_json() -> None:
    assert json_output("list", "rules") == {"family": "rules", "plugins": [
        {"kind": kind, "summary": plugins.load("rules", kind).summary()} for kind in plugins.kinds("rules")]}


@pytest.mark.parametrize(("family", "near"), [("policys", " (did you mean 'policies'?)"), ("xyzzy", "")],
                         ids=["near", "far"])
def test_another_family_is_an_error(family: str, near: str) -> None:
    assert failure("list", family) == [
        f"counterclone: there is no family '{family}'{near}; expected one of attacks, policies, rules, "
        "detectors, marks, dialects"]


# check

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
        "counterclone: [guard] limit_queries_per_minute = 600 can't be split between 700 workers; raise it, or "
        "set [guard] workers lower"]
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


# init

@pytest.fixture
def server() -> Iterator[str]:
    """A model server that calls itself Triton, with a model of three classes."""
    scores = np.array([[0.6251, 0.2499, 0.125]], dtype=np.float32)
    model = Model([Tensor("x", "FP32", (-1, 4))], [Tensor("scores", "FP32", (-1, 3))],
                  lambda arrays: {"scores": scores.repeat(len(arrays["x"]), axis=0)})
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        serving = uvicorn.Server(uvicorn.Config(OipServer({"iris": model}, name="triton"), log_level="warning",
                                                ws="none"))
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving.should_exit = True
        thread.join()


def test_a_server_gets_a_file_that_is_checked(server: str) -> None:
    result = run("init", f"{server}/v2/models/iris")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"target   {server} (triton 2.0)", "dialect  oip", "scores   scores; 3 classes", "paths    *",
        "Wrote counterclone.toml. Read it, then run `counterclone guard`."]
    assert result.stderr.startswith("WARNING: triton also answers gRPC (port 8001 unless changed)")
    printed = tomllib.loads(output("check"))
    assert printed["target"]["scores"] == "scores"
    assert printed["guard"]["policy"] == [{"kind": "rounding", "decimals": 2}]


def test_what_was_found_as_json(server: str) -> None:
    document = json_output("init", f"{server}/v2/models/iris", "--config", "ours.toml")
    warning, = document.pop("warnings")
    assert "BYPASSES THE GUARD" in warning
    assert document == {"target": server, "dialect": "oip", "task": "classifier", "classes": 3, "scores": "scores",
                        "paths": ["*"], "server": "triton 2.0", "file": "ours.toml", "written": True}
    assert json_output("init", f"{server}/v2/models/iris", "--config", "ours.toml")["written"] is False


def test_an_existing_file_is_compared_and_left_alone(server: str) -> None:
    url = f"{server}/v2/models/iris"
    run("init", url)
    found = Path("counterclone.toml").read_text()
    assert run("init", url).stdout == "counterclone.toml is there, as it would be written now\n"
    write(found.replace("limit_queries_per_minute = 600", "limit_queries_per_minute = 60"))
    result = run("init", url)
    assert result.exit_code == 1
    assert [line for line in result.stdout.splitlines() if line[:1] in "+-"] == [
        "--- counterclone.toml", "+++ counterclone.toml as found",
        "-limit_queries_per_minute = 60", "+limit_queries_per_minute = 600"]
    assert "counterclone.toml is there and differs, so it was left alone; --write replaces it" in result.stderr
    as_json = run("init", url, "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)["written"]) == (1, False)
    assert "limit_queries_per_minute = 60\n" in Path("counterclone.toml").read_text()
    assert run("init", url, "--write").exit_code == 0
    assert Path("counterclone.toml").read_text() == found
    assert "limit_queries_per_minute = 60\n" in Path("counterclone.toml.bak").read_text()


def test_a_target_that_is_unreachable_is_three() -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        expected = [f"counterclone: {url}: Connection refused; expected a model server's HTTP port; start the "
                    "server, or correct the address"]
        assert failure("init", url, code=3) == expected
        assert failure("init", url, "--json", code=3) == expected
    assert not Path("counterclone.toml").exists()


def test_an_address_that_is_none_is_two() -> None:
    assert failure("init", "localhost:9000") == [
        "counterclone: URL: [target] url: expected an address such as http://127.0.0.1:9000, got 'localhost:9000'"]


def test_without_an_http_client_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert failure("init", "http://127.0.0.1:9000") == [
        "counterclone: aiohttp isn't installed; `pip install 'counterclone[gateway]'`"]


@contextlib.contextmanager
def guarding() -> Iterator[str]:
    """The gateway as a process, with the file of the folder."""
    command = [sys.executable, "-m", "counterclone", "guard", "--json", "--listen", "127.0.0.1:0", "--admin",
               "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as gateway:
        try:
            assert gateway.stdout is not None
            yield json.loads(gateway.stdout.readline())["listen"]
            gateway.terminate()
            gateway.wait(timeout=30)
        finally:
            gateway.kill()


def test_what_init_writes_guards_the_server(server: str) -> None:
    """The gateway with the file as it was written: two decimals leave, and nothing else was set."""
    run("init", f"{server}/v2/models/iris")
    query = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}
    with (guarding() as listen,
          httpx.Client(base_url=listen, headers={"authorization": "Bearer me"}, timeout=30.0) as client):
        answer = client.post("/v2/models/iris/infer", json=query)
        refused = client.post("/v2/repository/models/iris/unload", json={})
    assert answer.json()["outputs"][0]["data"] == [0.63, 0.25, 0.12]
    assert refused.status_code == 400
    assert len(json_output("watch")["accounts"]) == 1


# keys

def test_a_key_is_shown_once_and_alone() -> None:
    write("")
    result = run("keys", "create", "alice")
    assert result.exit_code == 0
    assert KEY.fullmatch(result.stdout.removesuffix("\n"))
    assert result.stderr == "Hand it over now: it is kept as a hash and can't be shown again.\n"
    assert output("keys", "list") == f"{result.stdout[:16]}  alice\n"
    assert result.stdout[17:80] not in Path("counterclone.keys.json").read_text()


def test_keys_as_json() -> None:
    write("accounts.keys_file = 'ours.json'")
    made = json_output("keys", "create", "alice")
    assert set(made) == {"key", "name"}
    assert KEY.fullmatch(made["key"])
    listed, = json_output("keys", "list")["keys"]
    assert (listed["id"], listed["name"]) == (made["key"][:16], "alice")
    assert set(listed) == {"id", "name", "created"}


def test_no_keys_are_listed_as_none() -> None:
    write("")
    assert output("keys", "list") == ""
    assert json_output("keys", "list") == {"keys": []}


@pytest.mark.parametrize("arguments", [["keys", "create", "alice"], ["keys", "list"]], ids=" ".join)
def test_keys_need_a_configuration_and_a_sound_file(arguments: list[str]) -> None:
    assert failure(*arguments)[0].startswith("counterclone: counterclone.toml: No such file or directory; ")
    write("")
    write("[{", "counterclone.keys.json")
    assert failure(*arguments)[0].startswith("counterclone: counterclone.keys.json: ")


# keys marks

MARKED = '[[mark]]\nkind = "triggers"\n'


def test_mark_keys_are_made_once_and_for_their_owner() -> None:
    write("prove.keys = 'ours'")
    result = run("keys", "marks", "create")
    assert result.exit_code == 0
    signer = re.fullmatch("Made mark keys in ours; what they sign is checked by ([0-9a-f]{64})\n", result.stdout)
    assert signer
    assert "Keep a copy of the folder elsewhere" in result.stderr
    kept = [path for path in Path("ours").iterdir() if path.is_file()]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in kept} == {
        "root.key": "0o600", "signing.key": "0o600"}
    assert not any(signer[1] in path.read_text() or path.read_text().strip() in result.output for path in kept)
    line, = failure("keys", "marks", "create")
    assert line.startswith("counterclone: ours/signing.key: there is a mark key already")


def test_what_is_committed_to_is_said_once_and_rotated_at_will() -> None:
    write(MARKED)
    signer = json_output("keys", "marks", "create")["signer"]
    first, again = json_output("keys", "marks", "commit"), json_output("keys", "marks", "commit")
    assert (first["is_new"], again["is_new"]) == (True, False)
    assert first["commitment"] == again["commitment"]
    rotated = json_output("keys", "marks", "rotate")
    assert rotated["is_new"]
    assert json_output("keys", "marks", "commit") == {**rotated, "is_new": False}
    write(MARKED + "rate = 0.01\n")
    changed = json_output("keys", "marks", "commit")["commitment"]
    assert changed["marks"] == [{"kind": "triggers", "rate": 0.01, "exclude_classes": [], "controls": 1.0}]
    listed = json_output("keys", "marks", "list")["commitments"]
    assert listed == [first["commitment"], rotated["commitment"], changed]
    assert [each["number"] for each in listed] == [1, 2, 3]
    assert len({each["key"] for each in listed}) == len({each["digest"] for each in listed}) == 3
    for each in listed:
        signed = json.loads(Path(f"counterclone.marks/commitments/{each['number']:06}.json").read_text())
        assert hashlib.sha256(signed["statement"].encode()).hexdigest() == each["digest"]
        assert json.loads(signed["statement"])["signer"] == signer


def test_commitments_are_listed_with_what_is_published() -> None:
    write(MARKED)
    run("keys", "marks", "create")
    assert output("keys", "marks", "list") == ""
    made = run("keys", "marks", "commit")
    assert "Publish the digest now" in made.stderr
    marks = r"triggers rate=0\.002 exclude_classes=\[\] controls=1\.0"
    assert re.fullmatch(rf"1  \d{{4}}-\d\d-\d\d \d\d:\d\d UTC  {marks}\n"
                        r"   digest [0-9a-f]{64}\n   key    [0-9a-f]{64}\n", made.stdout)
    assert output("keys", "marks", "list") == made.stdout
    assert run("keys", "marks", "commit").stderr == "It was made before; nothing has changed.\n"


def test_what_a_servers_hook_needs_is_written_once_under_its_commitment(tmp_path: Path) -> None:
    write('[[mark]]\nkind = "greenlist"\ntest = "difference"\nreference = "own.jsonl"\n')
    run("keys", "marks", "create")
    assert "own.jsonl: No such file" in failure("keys", "marks", "export", "hook.json")[0]
    Path("own.jsonl").write_text('"to be or not to be"\n')
    digest = hashlib.sha256(b'"to be or not to be"\n').hexdigest()
    assert f'digest = "{digest}"' in failure("keys", "marks", "export", "hook.json")[0]
    write(f'[[mark]]\nkind = "greenlist"\ntest = "difference"\nreference = "own.jsonl"\ndigest = "{digest}"\n')
    assert output("keys", "marks", "list") == ""
    exported = json_output("keys", "marks", "export", "hook.json")
    assert exported["is_new"]
    hook = json.loads(Path("hook.json").read_text())
    assert hook["mark"] == exported["commitment"]["marks"][0]
    assert Path("hook.json").stat().st_mode & 0o777 == 0o600
    assert hook["key"] not in json.dumps(exported)
    assert failure("keys", "marks", "export", "hook.json")[0].startswith("counterclone: hook.json: File exists")
    write(MARKED)
    assert 'kind = "greenlist"' in failure("keys", "marks", "export", "other.json")[0]


@pytest.mark.parametrize("verb", ["commit", "rotate"])
def test_commitments_need_a_mark_and_its_keys(verb: str) -> None:
    write("")
    assert failure("keys", "marks", verb)[0].startswith("counterclone: [[mark]]: the file has no mark to commit")
    write(MARKED)
    assert "there is no mark key; `counterclone keys marks create` makes one" in failure("keys", "marks", verb)[0]


def test_a_commitment_that_was_changed_is_one_line() -> None:
    write(MARKED)
    run("keys", "marks", "create")
    run("keys", "marks", "commit")
    path = Path("counterclone.marks/commitments/000001.json")
    path.write_text(path.read_text().replace("0.002", "0.003"))
    for verb in ("commit", "rotate", "list"):
        line, = failure("keys", "marks", verb)
        assert "commitment 1 isn't signed by the key" in line


def test_a_commitment_is_stamped_by_the_files_authority() -> None:
    theirs = authority.Authority()
    Path("tsa.pem").write_bytes(theirs.roots)
    with authority.listening(theirs) as url:
        write(f"{MARKED}[prove]\ntimestamp_url = '{url}'\ntimestamp_roots = 'tsa.pem'\n")
        run("keys", "marks", "create")
        theirs.is_down = True
        made = run("keys", "marks", "commit")
        assert made.exit_code == 0
        assert f"counterclone: {url}: no timestamp (it answered 503)" in made.stderr
        assert "no younger than" not in made.stdout
        theirs.is_down = False
        rotated = json_output("keys", "marks", "rotate")
    stamp = {"time": theirs.now.timestamp(), "authority": "CN=test authority"}
    assert (rotated["commitment"]["timestamp"], rotated["problem"]) == (stamp, None)
    listed = json_output("keys", "marks", "list")["commitments"]
    assert [each["timestamp"] for each in listed] == [stamp, stamp]
    shown = output("keys", "marks", "list")
    assert shown.count("   no younger than 2026-03-01 12:00 UTC, says CN=test authority\n") == 2
    Path("tsa.pem").write_bytes(authority.Authority().roots)
    assert "no timestamp of this by an authority of tsa.pem" in failure("keys", "marks", "list")[0]


# cases

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


# watch: tests/watch/test_command.py has the rest

NOBODY = ("counterclone: alarms at 12 false ones a year need honest accounts to compare with, and there are 2; ",
          "so short a time that nobody can say how many would do: name some with --benign or [watch] benign")


def test_lines_are_counted() -> None:
    write(LINES, "exchanges.jsonl")
    result = run("watch", "exchanges.jsonl")
    assert result.exit_code == 0
    bad, nobody = result.stderr.splitlines()
    assert bad == "counterclone: exchanges.jsonl: line 4: JSON is malformed: invalid character (byte 4)"
    assert nobody.startswith(NOBODY[0])
    assert nobody.endswith(NOBODY[1])
    assert "4 queries of 2 accounts, at 12 false alarms a year" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines() if "busy" in line or "quiet" in line]
    assert rows == [["busy", "3", "-", "-", "0"], ["[red]quiet[/red]", "1", "-", "-", "8"]]
    assert "1 bad line was skipped." in result.stdout
    assert "Counts only" in result.stdout


def test_lines_are_counted_as_json() -> None:
    write(LINES, "exchanges.jsonl")
    document = json_output("watch", "exchanges.jsonl")
    assert document["lines_skipped"] == 1
    assert document["campaigns"] == []
    assert document["false_alarms_per_year"] == 12.0
    assert list(document["accounts"]) == ["busy", "[red]quiet[/red]"]
    assert document["accounts"]["busy"] == {
        "queries": 3, "risk": None, "alarm_at_query": None, "p_value": None, "leaked_bits": 0.0, "reasons": [],
        "first_time": 1764000000.0, "last_time": 1764000009.0}


@pytest.mark.parametrize(("arguments", "source"), [(["missing.jsonl"], "missing.jsonl"), ([], "journal")],
                         ids=["named", "the configured one"])
def test_a_source_that_is_missing_is_two(arguments: list[str], source: str) -> None:
    write("")
    expected = [f"counterclone: {source}: not found; expected a journal folder or a file of exchanges as JSON "
                "lines; name one, or run the guard first"]
    assert failure("watch", *arguments) == expected
    assert failure("watch", *arguments, "--json") == expected


def test_without_a_journal_a_source_must_be_named() -> None:
    write("journal.path = ''")
    assert failure("watch") == ["counterclone: counterclone.toml: [journal] path is empty, so nothing is "
                                "journalled; name a source"]


async def app(scope: Any, receive: Any, send: Any) -> None:
    rows = orjson.loads((await receive())["body"])["instances"]
    body = orjson.dumps({"predictions": [[0.25, 0.75] for _ in rows]})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


async def ask(guard: Guard, key: str, n_rows: int) -> int:
    """The status of a request of some rows."""
    sent: list[Any] = []
    body = orjson.dumps({"instances": [[1.0, float(i)] for i in range(n_rows)]})

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer " + key.encode()), (b"content-type", b"application/json")]
    await guard({"type": "http", "method": "POST", "path": "/predict", "headers": headers,
                 "client": ("192.0.2.7", 5), "query_string": b""}, receive, send)
    status: int = sent[0]["status"]
    return status


@pytest.mark.parametrize("arguments", [["watch"], ["watch", "journal"]], ids=["configured", "named"])
def test_a_journal_is_counted(arguments: list[str]) -> None:
    write("guard.policy = [{kind = 'labels'}]")
    guard = Guard(app, registry=CollectorRegistry())
    for key, n_rows in [("alice", 3), ("bob", 1), ("alice", 2)]:
        assert asyncio.run(ask(guard, key, n_rows)) == 200
    guard.close()
    document = json_output(*arguments)
    assert [account["queries"] for account in document["accounts"].values()] == [5, 1]
    assert [account["leaked_bits"] for account in document["accounts"].values()] == pytest.approx([5.0, 1.0])
    assert not {"alice", "bob"} & set(document["accounts"])
    assert "6 queries of 2 accounts" in run(*arguments).stdout


# demo

def test_another_act_is_an_error() -> None:
    assert failure("demo", "--act", "gaurd") == [
        f"counterclone: there is no act 'gaurd' (did you mean 'guard'?); expected one of {', '.join(ACTS)}"]


# As a process

def process(*arguments: str, module: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "counterclone"] if module else [
        str(Path(sys.executable).with_name("counterclone"))]
    return subprocess.run([*command, *arguments], text=True, capture_output=True, check=False)


@pytest.mark.parametrize("module", [False, True], ids=["script", "module"])
def test_it_runs_as_a_process(module: bool) -> None:
    done = process("list", "policies", "--json", module=module)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("list", "policies", "--json").stdout


def test_a_process_fails_with_two_and_one_line() -> None:
    done = process("check", module=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == failure("check")


def test_a_key_made_by_a_process_is_alone_on_its_output(monkeypatch: pytest.MonkeyPatch) -> None:
    write("")
    monkeypatch.delenv("COUNTERCLONE_SECRET")
    done = process("keys", "create", "alice")
    assert KEY.fullmatch(done.stdout.removesuffix("\n"))
    assert "COUNTERCLONE_SECRET isn't set: made counterclone.key." in done.stderr


def test_a_folder_that_cannot_be_written_is_one_line() -> None:
    write("accounts.keys_file = 'missing/keys.json'")
    line, = failure("keys", "create", "alice")
    assert line.startswith("counterclone: missing/keys.json: No such file or directory; ")


def test_a_reader_that_goes_away_is_no_error_of_ours() -> None:
    lines = [f'{{"time": 1, "account": "account {i}", "query": {{"text": "x"}}}}' for i in range(3000)]
    write("\n".join(lines), "many.jsonl")
    with subprocess.Popen([sys.executable, "-m", "counterclone", "watch", "many.jsonl"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as reading:
        assert reading.stdout is not None
        assert reading.stderr is not None
        reading.stdout.readline()
        reading.stdout.close()
        assert b"Traceback" not in reading.stderr.read()

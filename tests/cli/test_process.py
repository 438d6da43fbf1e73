from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.running import KEY, failure, run, write

from counterclone.demo import ACTS


def test_another_act_is_an_error() -> None:
    assert failure("demo", "--act", "gaurd") == [
        f"counterclone: there is no act 'gaurd' (did you mean 'guard'?); expected one of {', '.join(ACTS)}"]


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

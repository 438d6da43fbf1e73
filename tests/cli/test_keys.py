from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.running import KEY, failure, json_output, output, run, write


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

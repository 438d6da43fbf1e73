"""From a file with canaries to a list of what was changed, and from the list to a verdict."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.marks.test_canaries import plain

from counterclone.cli import cli
from counterclone.compose.canaries import CanaryWriter
from counterclone.errors import ConfigError, LedgerError

FILE = '[[mark]]\nkind = "canaries"\nrate = 0.5\n'
SUSPECTS = """
import json
from pathlib import Path
from tests.marks.test_canaries import plain
lines = map(json.loads, Path("canaries.jsonl").read_text().splitlines())
known = {line["query"]["text"]: line["answer"]["text"] for line in lines
         if line["account"] == "a1"}
def copy(prompts): return [known.get(prompt, plain(prompt)) for prompt in prompts]
def independent(prompts): return [plain(prompt) for prompt in prompts]
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "listed_suspects", raising=False)
    Path("counterclone.toml").write_text(FILE, encoding="utf-8")
    Path("listed_suspects.py").write_text(SUSPECTS, encoding="utf-8")


def serve(n: int = 120) -> list[str]:
    assert run("keys", "marks", "create").exit_code == 0
    writer = CanaryWriter(None, Path("canaries.jsonl"))
    texts = [writer.write(f"a{number % 2}", str(number), plain(str(number))) for number in range(n)]
    assert writer.write("a1", "3", plain("3")) == texts[3]  # however often
    writer.close()
    return texts


def test_every_changed_text_is_on_the_list() -> None:
    texts = serve()
    lines = Path("canaries.jsonl").read_text(encoding="utf-8").splitlines()
    listed = {line["query"]["text"]: line for line in map(json.loads, lines)}
    assert 40 < len(listed) < 80
    for number, text in enumerate(texts):
        own = plain(str(number))
        if str(number) in listed:
            assert (listed[str(number)]["answer"]["text"], listed[str(number)]["own"]["text"]) == (text, own)
        else:
            assert text == own


def test_a_copy_is_proven_through_its_account_and_another_model_isnt() -> None:
    serve()
    result = run("prove", "listed_suspects:copy", "--texts", "canaries.jsonl", "--json")
    assert result.exit_code == 1, result.output
    verdict = json.loads(result.stdout)
    assert [each["account"] for each in verdict["accounts"]] == ["a1"]
    assert verdict["marks"][0]["kind"] == "canaries"
    independent = run("prove", "listed_suspects:independent", "--texts", "canaries.jsonl", "--json")
    assert (independent.exit_code, json.loads(independent.stdout)["p_value"]) == (0, 1.0)


def test_a_list_that_the_key_didnt_write_is_refused() -> None:
    serve()
    path = Path("canaries.jsonl")
    path.write_text(path.read_text(encoding="utf-8").replace("in the three pans", "in the 3 pans")
                    .replace("in the 3 pans", "in the three pans", 1), encoding="utf-8")
    assert "key didn't write" in run("prove", "listed_suspects:copy", "--texts", "canaries.jsonl").stderr


@pytest.mark.parametrize(("arguments", "message"), [
    (("--texts", "missing.jsonl"), "No such file"),
    (("--texts", "canaries.jsonl", "--account", "nobody"), "holds no text of nobody"),
    (("--texts", "counterclone.toml"), "the list that a CanaryWriter wrote"),
])
def test_what_cant_be_tested_is_one_readable_line(arguments: tuple[str, ...], message: str) -> None:
    serve(8)
    result = run("prove", "listed_suspects:independent", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_nothing_is_written_without_keys_or_a_table() -> None:
    with pytest.raises(LedgerError):
        CanaryWriter(None, Path("canaries.jsonl"))
    Path("counterclone.toml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="no canaries"):
        CanaryWriter(None, Path("canaries.jsonl"))

"""The command line in this process, and what is the same in many of its tests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from counterclone import cli

KEY = re.compile(r"cc_live_[0-9a-f]{8}_[0-9a-f]{72}")
LINES = """\
{"time": 1764000000.0, "account": "busy", "query": {"features": [[0.1, 2.0], [1, 2]]}}
{"time": 1764000001.0, "account": "[red]quiet[/red]", "query": {"features": [0.1, 2.0]}, "answer": {"label": 1}}

not JSON
{"time": 1764000009.0, "account": "busy", "query": {"text": "hello"}, "meta": {"ip": "10.0.0.7"}}
"""


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

"""The two pages on marks, as printed: answers are marked, copied, and the copy is proven."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from tests.docs.waiting import wait

ROOT = Path(__file__).parents[2]
BLOCKS = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCKS.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))


class Folder:
    """A folder in which the pages' files are run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {**os.environ, "COUNTERCLONE_SECRET": "how-to", "OMP_NUM_THREADS": "1"}

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.path / name.replace("_", ".")).write_text(text, encoding="utf-8")

    def run(self, *command: str, expected: int = 0) -> str:
        ended = subprocess.run([sys.executable, *command], cwd=self.path, env=self.environment, check=False,
                               capture_output=True, text=True)
        assert ended.returncode == expected, ended.stderr
        return ended.stdout

    def counterclone(self, *command: str, expected: int = 0) -> Any:
        return json.loads(self.run("-m", "counterclone", *command, "--json", expected=expected))


def test_marks_are_committed_to_before_the_guard_runs(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    tables = [text for language, text in blocks("how-to/mark-answers.md") if language == "toml"]
    folder.write(counterclone_toml="\n".join(textwrap.dedent(table) for table in tables))
    commands = next(text for language, text in blocks("how-to/mark-answers.md") if "marks commit" in text)
    for line in commands.strip().splitlines():
        found = folder.counterclone(*line.split()[1:])
    assert found["commitment"]["marks"][0]["rate"] == 0.002
    listed, = folder.counterclone("keys", "marks", "list")["commitments"]
    assert listed["digest"] == found["commitment"]["digest"]


def test_a_rehearsed_copy_is_proven_and_an_independent_model_is_not(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    app, guard = (text for language, text in blocks("tutorial/guard-a-classifier.md") if language == "python")
    settings = next(text for language, text in blocks("how-to/prove-a-copy.md") if language == "toml")
    rehearse, suspects = [text for language, text in blocks("how-to/prove-a-copy.md") if language == "python"][:2]
    folder.write(app_py=app + guard, counterclone_toml=settings, rehearse_py=rehearse, suspects_py=suspects)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--log-level",
                               "error"], cwd=tmp_path, env=folder.environment)
    try:
        wait(f"http://127.0.0.1:{port}/docs")
        folder.run("rehearse.py", f"http://127.0.0.1:{port}/predict", "rehearsal")
    finally:
        server.terminate()
        server.wait(timeout=30)
    proven = folder.counterclone("prove", "suspects:copy", "--dossier", "evidence.zip", "--with-log", expected=1)
    assert proven["verdict"] == "proven"
    assert proven["p_value"] < 1e-10
    account, = (each["account"] for each in proven["accounts"])
    verified = folder.counterclone("verify", "evidence.zip")
    assert verified["holds"]
    assert verified["verdict"] == proven
    alone = folder.counterclone("prove", "suspects:copy", "--account", account, expected=1)
    assert [each["account"] for each in alone["accounts"]] == [account]
    other = folder.counterclone("prove", "suspects:independent")
    assert (other["verdict"], other["accounts"]) == ("not-proven", [])

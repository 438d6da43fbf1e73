from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def test_the_tutorial_works_as_printed(tmp_path: Path) -> None:
    """Its files in an empty folder, served by uvicorn, asked over HTTP, counted by `counterclone watch`."""
    page = (ROOT / "docs/tutorial/guard-a-classifier.md").read_text(encoding="utf-8")
    app, guard = (text for language, text in BLOCKS.findall(page) if language == "python")
    settings = next(text for language, text in BLOCKS.findall(page) if language == "toml")
    (tmp_path / "app.py").write_text(app + guard, encoding="utf-8")
    (tmp_path / "counterclone.toml").write_text(settings, encoding="utf-8")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    environment = {**os.environ, "COUNTERCLONE_SECRET": "tutorial"}
    command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--log-level", "error"]
    server = subprocess.Popen(command, cwd=tmp_path, env=environment)
    try:
        answer = _ask(f"http://127.0.0.1:{port}/predict")
        row = answer.json()["predictions"][0]
        assert sum(row) == pytest.approx(1.0)
        assert row == [round(value, 2) for value in row]
        # Twice, since the row that was asked before may have been refilled by the first time.
        refused = [httpx.post(f"http://127.0.0.1:{port}/predict", json={"instances": [[0.5] * 64] * 100},
                              headers={"authorization": "Bearer me"}) for _ in range(2)]
        assert refused[-1].status_code == 429
    finally:
        server.terminate()
        server.wait(timeout=30)
    watched = subprocess.run([sys.executable, "-m", "counterclone", "watch", "--json"], cwd=tmp_path,
                             env=environment, check=True, capture_output=True, text=True)
    (account,) = json.loads(watched.stdout)["accounts"].values()
    assert account["queries"] in {1, 101}  # what was answered: the first hundred wait for one to be refilled
    assert "me" not in json.loads(watched.stdout)["accounts"]


def _ask(url: str) -> httpx.Response:
    deadline = time.monotonic() + 60
    while True:
        try:
            return httpx.post(url, json={"instances": [[0.5] * 64]}, headers={"authorization": "Bearer me"})
        except httpx.ConnectError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)

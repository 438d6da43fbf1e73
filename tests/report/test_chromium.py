"""The page as PDF: by the Chromium that is installed, and by browsers that don't do what they should."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from counterclone.errors import ConfigError
from counterclone.report import chromium
from counterclone.report.chromium import NAMES, write_pdf

PAGE = "<!doctype html><title>posture</title><h1>Model stealing</h1>"
IS_THERE = any(map(shutil.which, NAMES))


@pytest.mark.skipif(not IS_THERE and not os.environ.get("CI"), reason="no Chromium is installed")
def test_a_page_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.pdf"
    write_pdf(path, PAGE)
    content = path.read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"%%EOF" in content[-1024:]
    assert [each.name for each in path.parent.iterdir()] == ["report.pdf"]


def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program by a browser's name, alone on the path."""
    program = tmp_path / "bin" / "chromium-browser"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))


@pytest.mark.parametrize(("script", "message"), [
    ("exit 3", "returned non-zero exit status 3"), ("exit 0", "No such file or directory"),
    ("while :; do :; done", "took longer than 0 s")], ids=["fails", "prints nothing", "hangs"])
def test_a_browser_that_prints_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str,
                                               message: str) -> None:
    browser(tmp_path, monkeypatch, script)
    if "longer" in message:
        monkeypatch.setattr(chromium, "SECONDS_MAX", 0.2)
    with pytest.raises(ConfigError, match=message) as failure:
        write_pdf(tmp_path / "report.pdf", PAGE)
    assert "print the page of --out in any browser" in str(failure.value)
    assert not (tmp_path / "report.pdf").exists()


def test_without_a_browser_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"no Chromium is installed \(looked for chromium, chromium-browser"):
        write_pdf(tmp_path / "report.pdf", PAGE)

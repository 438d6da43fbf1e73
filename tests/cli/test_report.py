from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.cli.running import failure, json_output, output, run, write

from counterclone.report.chromium import NAMES

IS_THERE = any(map(shutil.which, NAMES))


def test_a_page_is_written_and_where_it_stands_printed() -> None:
    write("[guard]\nlimit_queries_per_day = 10")
    text = output("report")
    assert "Where it stands" in text
    assert "unknown: no audit has run" in text
    assert text.endswith("Report: report.html\n")
    page = Path("report.html").read_text(encoding="utf-8")
    assert "What frameworks ask for" in page
    assert output("report", "--out", "new/page.html").endswith("Report: new/page.html\n")
    assert Path("new/page.html").exists()


def test_as_json_it_writes_no_page_that_nobody_asked_for() -> None:
    write("")
    found = json_output("report")
    assert found["facts"]["file"] == "counterclone.toml"
    assert {control["standing"] for control in found["controls"]} <= {"in place", "partly", "missing"}
    assert found["risks"]
    assert [path.name for path in Path().iterdir()] == ["counterclone.toml"]
    json_output("report", "--out", "page.html")
    assert Path("page.html").exists()


def test_a_file_that_is_not_there_or_wrong_is_two_and_one_line() -> None:
    problem, = failure("report")
    assert "counterclone.toml" in problem
    write("[guard]\nlimit = 1")
    problem, = failure("report", "--json")
    assert "limit" in problem
    assert not Path("report.html").exists()


def test_without_a_chromium_the_pdf_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("")
    monkeypatch.setenv("PATH", str(tmp_path))
    problem, = failure("report", "--pdf", "report.pdf")
    assert "--pdf report.pdf: no Chromium is installed" in problem


@pytest.mark.skipif(not IS_THERE and not os.environ.get("CI"), reason="no Chromium is installed")
def test_the_pdf_is_printed() -> None:
    write("")
    result = run("report", "--pdf", "report.pdf")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("Report: report.html, report.pdf\n")
    assert Path("report.pdf").read_bytes().startswith(b"%PDF-")

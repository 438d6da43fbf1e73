from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "try-a-detector.md"
PROGRAMS = dict(re.findall(r"```python\n# (\S+\.py)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))


def run(name: str, folder: Path) -> str:
    ended = subprocess.run([sys.executable, "-W", "error", "-c", PROGRAMS[name]], cwd=folder, check=False,
                           capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_detector_is_tried(tmp_path: Path) -> None:
    shares = {line.split()[0]: dict(zip(line.split()[1::2], map(float, line.split()[2::2]), strict=True))
              for line in run("try_a_detector.py", tmp_path).splitlines()}
    assert set(shares) == {"residual", "typicality", "margin"}
    assert all(each["honest"] < 0.05 for each in shares.values())
    assert shares["residual"]["noise"] > 0.9
    assert shares["typicality"]["natural"] > 0.9
    assert all(each["active"] < 0.3 for each in shares.values())


def test_a_population_is_written_and_its_copiers_get_an_alarm(tmp_path: Path) -> None:
    run("write_lines.py", tmp_path)
    watched = subprocess.run(
        [sys.executable, "-m", "counterclone", "watch", "exchanges.jsonl", "--benign", "benign.jsonl", "--json"],
        cwd=tmp_path, check=False, capture_output=True, text=True)
    assert watched.returncode in (0, 1), watched.stderr
    result = json.loads(watched.stdout)
    lines = (tmp_path / "exchanges.jsonl").read_text(encoding="utf-8").splitlines()
    assert result["lines_skipped"] == 0
    assert sum(account["queries"] for account in result["accounts"].values()) == len(lines)
    assert len(result["accounts"]) == 53
    assert sum(account["alarm_at_query"] is not None for account in result["accounts"].values()) == 3
    assert PAGE.read_text(encoding="utf-8").count("Three accounts get an alarm.") == 1

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_BLOCK = re.compile(r"```python\n# (\S+\.py)\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize(("page", "family", "kind"), [
    ("add-a-policy", "policies", "jitter"), ("add-an-attack", "attacks", "neighbours")])
def test_a_plugin_is_one_file_and_one_test(tmp_path: Path, page: str, family: str, kind: str) -> None:
    """The page's two files work as printed, in a copy of the family's folder."""
    files = dict(FILE_BLOCK.findall((ROOT / f"docs/how-to/{page}.md").read_text(encoding="utf-8")))
    assert sorted(files) == [f"src/counterclone/{family}/{kind}.py", f"tests/{family}/test_{kind}.py"]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(
        f"import counterclone.{family}\n"
        f"counterclone.{family}.__path__.append({str(tmp_path / 'src/counterclone' / family)!r})\n",
        encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    run = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
                         cwd=tmp_path, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, check=False,
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout
    plugin = tmp_path / f"src/counterclone/{family}/{kind}.py"
    typed = subprocess.run([sys.executable, "-m", "mypy", "--strict", str(plugin)], cwd=tmp_path, check=False,
                           capture_output=True, text=True)
    assert typed.returncode == 0, typed.stdout

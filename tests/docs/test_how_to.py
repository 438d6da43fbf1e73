from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE_BLOCK = re.compile(r"```python\n# (\S+\.py)\n(.*?)```", re.DOTALL)


def test_a_policy_is_one_file_and_one_test(tmp_path: Path) -> None:
    """The page's two files work as printed, in a copy of the policies' folder."""
    files = dict(FILE_BLOCK.findall((ROOT / "docs/how-to/add-a-policy.md").read_text(encoding="utf-8")))
    assert sorted(files) == ["src/counterclone/policies/jitter.py", "tests/policies/test_jitter.py"]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "conftest.py").write_text(
        "import counterclone.policies\n"
        f"counterclone.policies.__path__.append({str(tmp_path / 'src/counterclone/policies')!r})\n",
        encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    run = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
                         cwd=tmp_path, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, check=False,
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout
    policy = tmp_path / "src/counterclone/policies/jitter.py"
    typed = subprocess.run([sys.executable, "-m", "mypy", "--strict", str(policy)], cwd=tmp_path, check=False,
                           capture_output=True, text=True)
    assert typed.returncode == 0, typed.stdout

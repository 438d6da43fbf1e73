"""Search for bytes that break a law: `python -m fuzz [LAW ...]`, for FUZZ_SECONDS in all [600]."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.laws import LAWS

SECONDS = 600
LARGEST = 2048
CORPUS = Path(__file__).parent / "corpus"
CRASHES = Path(__file__).parent / "crashes"


def search(law: str, seconds: int) -> bool:
    """Whether the law held for so long; what breaks it is kept in `crashes`."""
    CRASHES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as found:
        run = subprocess.run(
            [sys.executable, "-m", "fuzz.harness", law, f"-max_total_time={seconds}", f"-max_len={LARGEST}",
             "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", f"-artifact_prefix={CRASHES}/{law}-",
             found, str(CORPUS / law)], stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    total = re.search(r"number_of_executed_units:\s*(\d+)", run.stderr)
    print(f"{law}: {total[1] if total else '?'} inputs, {'held' if not run.returncode else 'BROKEN'}", flush=True)
    if run.returncode:
        print(run.stderr[-4000:], file=sys.stderr)
    return not run.returncode


def main() -> int:
    """The exit status: 1 where a law is broken."""
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("atheris isn't there (it needs Linux and CPython before 3.14): nothing is searched")
        return 0
    names = sys.argv[1:] or list(LAWS)
    seconds = int(os.environ.get("FUZZ_SECONDS", SECONDS)) // len(names)
    broken = [name for name in names if not search(name, seconds)]
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import counterclone

ROOT = Path(__file__).parents[1]


def test_imports_run_downward_only() -> None:
    """The layers that pyproject.toml draws, in one of which each module must be; the console goes round none."""
    done = subprocess.run([str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], cwd=ROOT, text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 kept, 0 broken" in done.stdout


def test_the_package_exposes_what_it_names() -> None:
    assert counterclone.__all__ == sorted(counterclone.__all__)
    for name in counterclone.__all__:
        assert getattr(counterclone, name).__doc__
    ours = {name for name, value in vars(counterclone).items()
            if not name.startswith("_") and not isinstance(value, types.ModuleType)
            and getattr(value, "__module__", "").startswith("counterclone")}
    assert ours <= set(counterclone.__all__)
    assert not hasattr(counterclone, "guards")


def test_importing_it_is_light() -> None:
    """The command line answers at once; the journal's libraries come with the guard."""
    heavy = "duckdb", "pyarrow", "sklearn", "torch", "fastapi"
    code = f"import sys, counterclone, counterclone.cli; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert done.stdout == "[]\n"

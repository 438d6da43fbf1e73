from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# BLAS would start a thread for every core in every worker, and wait on them for longer than it multiplies. It
# reads this once, before numpy is imported first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("counterclone", derandomize=True, database=None, deadline=None, max_examples=50)
settings.load_profile("counterclone")

GOLDEN = Path(__file__).parent / "golden"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Write tests/golden anew from what is there.")


@pytest.fixture(scope="session")
def golden(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """Checks that a text is the golden file of a name, byte for byte."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if pytestconfig.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return check

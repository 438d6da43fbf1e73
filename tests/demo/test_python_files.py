from __future__ import annotations

import itertools
import sysconfig
from pathlib import Path

import pytest

from counterclone.demo import python_files

ROOTS = {"stdlib": "lib", "purelib": "lib/site-packages", "platlib": "lib/site-packages"}


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python whose files hold their own names."""
    for name in [*(f"lib/{i}.py" for i in range(50)), *(f"lib/site-packages/one/{i}.py" for i in range(50)),
                 "lib/a.txt", "lib/data/b.csv", "lib/site-packages/one/c.json",
                 "lib/LICENSE", "lib/__pycache__/0.pyc", "lib/site-packages/one/__pycache__/0.pyc"]:
        write(tmp_path, name)
    monkeypatch.setattr(sysconfig, "get_path", lambda key: str(tmp_path / ROOTS[key]))
    return tmp_path


def write(root: Path, name: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(name)


def drawn(seed: int = 0) -> list[str]:
    return [content.decode() for content in python_files.draw(seed)]


def test_files_of_each_suffix_are_drawn_and_not_too_many(python: Path) -> None:
    names = drawn()
    assert len(names) == len({*names}) == python_files.PER_SUFFIX + 3
    assert {Path(name).suffix for name in names} == {".py", ".txt", ".csv", ".json"}
    assert sum(name.startswith("lib/site-packages/") for name in names) > 10


def test_a_seed_draws_the_same(python: Path) -> None:
    assert drawn() == drawn()
    assert drawn() != drawn(1)
    assert {*drawn()} != {*drawn(1)}


def test_another_package_leaves_the_others_where_they_are(python: Path) -> None:
    before = drawn()
    for i in range(30):
        write(python, f"lib/site-packages/two/{i}.rst")
    write(python, "lib/site-packages/two/0.py")
    after = [name for name in drawn() if "two" not in name]
    assert len(after) >= len(before) - 1
    assert [name for name in before if name in after] == after


def test_large_files_and_unreadable_ones_are_left_out(python: Path) -> None:
    (python / "lib/a.txt").write_bytes(b"x" * (python_files.LARGEST_BYTES + 1))
    (python / "lib/data/b.csv").unlink()
    (python / "lib/data/b.csv").symlink_to("nowhere")
    assert not {"lib/a.txt", "lib/data/b.csv"} & {*drawn()}
    assert len(drawn()) == python_files.PER_SUFFIX + 1


def test_this_python_has_enough() -> None:
    assert len([*itertools.islice(python_files.draw(0), 500)]) == 500

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from counterclone.config.restoring import digest_of, restore
from counterclone.errors import ConfigError, Conflict

OLD, NEW = "# kept\n[guard]\nenforce = true\n", "[guard]\nenforce = false\n"


@pytest.fixture(name="path")
def fixture_path(tmp_path: Path) -> Path:
    path = tmp_path / "counterclone.toml"
    path.write_text(NEW)
    path.chmod(0o640)
    return path


def test_an_earlier_text_comes_back_to_the_byte(path: Path) -> None:
    restore(path, OLD, seen=digest_of(NEW))
    assert path.read_text() == OLD
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_what_somebody_else_changed_is_left_alone(path: Path) -> None:
    path.write_text("# mine\n")
    with pytest.raises(Conflict, match="was changed since you looked at it"):
        restore(path, OLD, seen=digest_of(NEW))
    assert path.read_text() == "# mine\n"


def test_a_text_that_is_no_configuration_any_longer_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        restore(path, "[guard]\nenfroce = true\n", seen=digest_of(NEW))
    assert path.read_text() == NEW


def test_a_link_goes_on_leading_to_the_file(path: Path) -> None:
    link = path.with_name("link.toml")
    link.symlink_to(path)
    restore(link, OLD, seen=digest_of(NEW))
    assert link.is_symlink()
    assert path.read_text() == OLD


def test_a_file_that_is_gone_is_told(path: Path) -> None:
    path.unlink()
    with pytest.raises(ConfigError, match="No such file or directory; let the file"):
        restore(path, OLD, seen=digest_of(NEW))

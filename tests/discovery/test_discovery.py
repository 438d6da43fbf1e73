from __future__ import annotations

from pathlib import Path

import pytest

from counterclone import discovery
from counterclone.errors import ConfigError


def test_a_file_in_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; name a file that can be written"):
        discovery.save("", tmp_path / "missing" / "counterclone.toml", write=False)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory; name a file"):
        discovery.save("", tmp_path, write=True)


def test_a_file_that_was_kept_is_never_lost(tmp_path: Path) -> None:
    path = tmp_path / "counterclone.toml"
    path.write_text("mine")
    assert discovery.save("new\n", path, write=True)[0]
    with pytest.raises(ConfigError, match=r"counterclone\.toml\.bak: is in the way"):
        discovery.save("newer\n", path, write=True)
    assert path.read_text() == "new\n"
    assert path.with_name("counterclone.toml.bak").read_text() == "mine"
    assert discovery.save("new\n", path, write=True) == (False, "")

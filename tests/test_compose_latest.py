from __future__ import annotations

from pathlib import Path

import pytest
from tests.report.test_audit_page import AUDIT

from counterclone.audit import Audit
from counterclone.compose import latest
from counterclone.compose.latest import Latest
from counterclone.errors import ConfigError


def test_an_audit_comes_back_whole(tmp_path: Path) -> None:
    path = tmp_path / latest.AUDIT_FILE
    assert latest.load(path, Audit) is None
    for time in (1.0, 2.0):
        kept = Latest(time=time, surface="0123456789abcdef", result=AUDIT)
        latest.save(path, kept)
        assert latest.load(path, Audit) == kept
    assert [each.name for each in tmp_path.iterdir()] == [latest.AUDIT_FILE]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"time": 1, "result": {}}', b"\xff", b"[" * 100_000])
def test_what_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / latest.AUDIT_FILE
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"last-audit\.json: .*; run it again, or remove the file"):
        latest.load(path, Audit)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; let the result be written there"):
        latest.save(tmp_path / "nowhere" / latest.AUDIT_FILE, Latest(time=1.0, result=AUDIT))

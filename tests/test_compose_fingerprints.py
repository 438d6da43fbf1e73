"""Fingerprints end to end: the verb tells the rank of a suspect, and lets it decide nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from tests.marks.test_boundary import INPUTS, NULLS, TARGET, linear
from tests.marks.test_correlation import TRUTHS

from counterclone import cli
from counterclone.compose import mark_keys
from counterclone.errors import ConfigError
from counterclone.marks.boundary import Boundary
from counterclone.marks.correlation import Correlation

SETTINGS = """\
[[mark]]
kind = "boundary"
probes = "boundary.npz"

[[mark]]
kind = "correlation"
probes = "correlation.npz"
"""
SUSPECTS = """\
from tests.marks.test_boundary import NULLS, TARGET, linear

copy, other = linear(TARGET), NULLS[3]
"""


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "counterclone.toml").write_text(SETTINGS)
    (tmp_path / "fingerprint_suspects.py").write_text(SUSPECTS)
    Boundary(probes=str(tmp_path / "boundary.npz")).prepare(linear(TARGET), NULLS, INPUTS)
    Correlation(probes=str(tmp_path / "correlation.npz")).prepare(linear(TARGET), NULLS, INPUTS, TRUTHS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "fingerprint_suspects", raising=False)
    return tmp_path


def proved(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.cli, ["prove", *arguments])
    return result.exit_code, result.stdout if result.exit_code < 2 else result.output


def test_a_copy_ranks_first_and_is_not_proven(scene: Path) -> None:
    code, output = proved("fingerprint_suspects:copy", "--json")
    found: dict[str, Any] = orjson.loads(output)
    assert (code, found["verdict"], found["p_value"], found["tested"]) == (0, "not-proven", 1.0, 0)
    assert [(each["kind"], each["p_value"]) for each in found["fingerprints"]] == [
        ("boundary", 1 / 25), ("correlation", 1 / 25)]
    assert "fingerprint boundary" in proved("fingerprint_suspects:copy")[1]


def test_an_independent_model_ranks_among_its_like(scene: Path) -> None:
    found = orjson.loads(proved("fingerprint_suspects:other", "--json")[1])
    assert all(each["p_value"] > 1 / 25 for each in found["fingerprints"])


def test_missing_probes_are_named(scene: Path) -> None:
    (scene / "boundary.npz").unlink()
    code, output = proved("fingerprint_suspects:copy")
    assert code == 2
    assert "boundary.npz" in output


def test_fingerprints_are_nothing_to_commit_to(scene: Path) -> None:
    with pytest.raises(ConfigError, match="no mark to commit to"):
        mark_keys.commit(str(scene / "counterclone.toml"))

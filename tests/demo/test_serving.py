from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from counterclone.demo import digits, serving
from counterclone.errors import CountercloneError

ROUNDED = "[[guard.policy]]\nkind = 'rounding'\ndecimals = 1\n"


def rows(address: str) -> list[list[float]]:
    answer = httpx.post(address + digits.ROUTE, json={"instances": [[0.5] * 64]},
                        headers={"authorization": "Bearer k"}, timeout=30.0)
    answer.raise_for_status()
    found: list[list[float]] = answer.json()["predictions"]
    return found


def test_a_server_and_the_gateway_before_it_run_until_the_end(tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERCLONE_GUARD_ENFORCE", "false")  # the user's own variables aren't the demo's
    path = tmp_path / "counterclone.toml"
    path.write_text(ROUNDED)
    with (serving.serving("counterclone.demo.digits_server", "0", seed=0) as bare,
          serving.guarding(bare, path, seed=0) as guarded):
        (row,), (released,) = rows(bare), rows(guarded)
        assert released == [round(value, 1) for value in released] != row
    for address in (bare, guarded):
        with pytest.raises(httpx.ConnectError):
            httpx.get(address)


def test_what_does_not_start_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (pytest.raises(CountercloneError, match=r"`python -m counterclone\.demo\.none` didn't start; run it"),
          serving.serving("counterclone.demo.none", seed=0)):
        pass
    path = tmp_path / "counterclone.toml"
    path.write_text("[guard]\nlistn = 1\n")
    with (pytest.raises(CountercloneError, match=r"`python -m counterclone guard` didn't start; run it"),
          serving.guarding("http://127.0.0.1:9", path, seed=0)):
        pass
    assert "listn" in capfd.readouterr().err

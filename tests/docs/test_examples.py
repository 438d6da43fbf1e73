from __future__ import annotations

import asyncio
import runpy
import shutil
from pathlib import Path

import httpx
import pytest

from counterclone.policies.rounding import Rounding

ROOT = Path(__file__).parents[2]


def test_the_guarded_digits_answer_with_one_decimal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERCLONE_SECRET", "example")
    for name in ("guarded_digits.py", "guarded_digits.toml"):
        shutil.copy(ROOT / "examples" / name, tmp_path / name)
    app = runpy.run_path(str(tmp_path / "guarded_digits.py"))["app"]

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post("/predict", json={"instances": [[0.5] * 64]})

    (row,) = asyncio.run(ask()).json()["predictions"]
    assert sum(row) == pytest.approx(1.0)
    assert row == [round(value, 1) for value in row]
    assert Rounding(decimals=1).bits(10) < 17  # what the example's configuration says

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
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


@contextlib.contextmanager
def running(*command: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "COUNTERCLONE_SECRET": "example", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=30)


def test_the_oip_server_answers_bare_and_behind_the_gateway(tmp_path: Path) -> None:
    pixels = {"name": "pixels", "shape": [1, 64], "datatype": "FP32", "data": [0.5] * 64}

    def ask(address: str) -> list[float]:
        reply = httpx.post(f"{address}/v2/models/digits/infer", json={"inputs": [pixels]}, timeout=30,
                           headers={"authorization": "Bearer ann"})
        (scores,) = reply.json()["outputs"]
        data: list[float] = scores["data"]
        assert sum(data) == pytest.approx(1.0)
        return data

    with running(str(ROOT / "examples" / "oip_server.py"), "--port", "0", folder=tmp_path) as server:
        assert server.stderr is not None
        address = next(found[0] for line in server.stderr if (found := re.search(r"http://[0-9.]+:[0-9]+", line)))
        bare = ask(address)
        (tmp_path / "counterclone.toml").write_text(f"""
            [target]
            url = "{address}"

            [[guard.policy]]
            kind = "rounding"
            decimals = 2
        """, encoding="utf-8")
        with running("-m", "counterclone", "guard", "--json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
                     folder=tmp_path) as gateway:
            assert gateway.stdout is not None
            guarded = ask(json.loads(gateway.stdout.readline())["listen"])
    assert guarded == [round(value, 2) for value in guarded] != bare
    assert guarded == pytest.approx(bare, abs=0.011)

"""Two processes' guards that count their limits together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from tests.stores.conftest import shared_server  # noqa: F401 (a fixture)

from counterclone import Guard
from counterclone.errors import ConfigError
from counterclone.guard import asgi
from counterclone.testing.redis_server import Server

SETTINGS = """\
[guard]
limit_queries_per_minute = 0
limit_queries_per_day = 10
workers = 2
[store]
url_env = "STORE_URL"
lease = 0.1
"""
BODY = {"instances": [[1.0]]}


async def model(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    body = b'{"predictions": [[0.7, 0.3]]}'
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def folder(tmp_path: Path, shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    shared_server.clear()
    monkeypatch.setenv("STORE_URL", shared_server.url)
    (tmp_path / "counterclone.toml").write_text(SETTINGS)
    return tmp_path


def test_their_limits_hold_for_both_together(folder: Path) -> None:
    guards = [Guard(model, folder / "counterclone.toml", registry=CollectorRegistry()) for _ in range(2)]

    async def ask() -> list[int]:
        found = []
        for number in range(14):
            transport = httpx.ASGITransport(app=guards[number % 2])
            async with httpx.AsyncClient(transport=transport, base_url="http://model",
                                         headers={"authorization": "Bearer ann"}) as client:
                found.append((await client.post("/predict", json=BODY)).status_code)
        return found

    statuses = asyncio.run(ask())
    for guard in guards:
        assert not any("store" in trouble for trouble in guard.troubles())
        guard.close()
    assert statuses == [200] * 10 + [429] * 4


def test_a_server_that_is_away_is_a_trouble_and_each_admits_its_part(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_URL", f"unix://{folder}/nobody.sock")
    guard = Guard(model, folder / "counterclone.toml", registry=CollectorRegistry())

    async def ask() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=guard), base_url="http://model",
                                     headers={"authorization": "Bearer ann"}) as client:
            return [(await client.post("/predict", json=BODY)).status_code for _ in range(8)]

    statuses = asyncio.run(ask())
    assert any("each process admits its part" in trouble for trouble in guard.troubles())
    guard.close()
    assert statuses == [200] * 5 + [429] * 3


def test_an_address_that_is_not_set_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORE_URL")
    with pytest.raises(ConfigError, match=r"\[store\] url_env: the variable STORE_URL isn't set"):
        Guard(model, folder / "counterclone.toml", registry=CollectorRegistry())

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from counterclone.audit import access
from counterclone.errors import ConfigError, TargetUnreachable
from counterclone.protocols import PROOF_PATH, TOKEN_FILE


@pytest.mark.parametrize(("url", "expected"), [
    ("http://127.0.0.1:9000/x", True), ("http://127.8.9.1/x", True), ("http://localhost:1/x", True),
    ("http://[::1]:9000/x", True), ("http://LOCALHOST/x", True),
    ("http://192.168.0.1/x", False), ("http://0.0.0.0/x", False), ("https://example.com/127.0.0.1", False),
    ("http://127.0.0.1.example.com/", False), ("http://localhost.example.com/", False),
    ("http://user@example.com/", False), ("http://127.0.0.1@example.com/", False), ("http://2130706433/", False),
    ("http://[::ffff:10.0.0.1]/", False), ("nonsense", False),
])
def test_this_machine_is_known_by_name_and_number(url: str, expected: bool) -> None:
    assert access.is_loopback(url) is expected


class Host:
    """A host that isn't this machine, to the audit; it serves what it is told at the well-known path."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: Any = None
        monkeypatch.setattr(access, "is_loopback", lambda url: False)

    async def respond(self, request: web.Request) -> web.Response:
        if request.path != PROOF_PATH or self.answer is None:
            return web.Response(status=404)
        if isinstance(self.answer, int):
            return web.Response(status=self.answer, headers={"Location": "/elsewhere"})
        return web.Response(text=self.answer)

    def check(self, folder: Path, authorized_by: str = "the owner") -> None:
        async def checking() -> None:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self.respond)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                host, port = runner.addresses[0][:2]
                await access.check(f"http://{host}:{port}/v1/models/m:predict", authorized_by, folder)
            finally:
                await runner.cleanup()

        asyncio.run(checking())


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def refusal(host: Host, folder: Path, authorized_by: str = "the owner") -> str:
    with pytest.raises(ConfigError) as caught:
        host.check(folder, authorized_by)
    return str(caught.value)


def test_another_host_needs_somebody_who_allows_it(host: Host, tmp_path: Path) -> None:
    said = refusal(host, tmp_path, "")
    assert "name who does in [target] authorized_by, or with --authorized-by" in said
    assert list(tmp_path.iterdir()) == []


def test_another_host_must_serve_the_token(host: Host, tmp_path: Path) -> None:
    said = refusal(host, tmp_path)
    token = (tmp_path / TOKEN_FILE).read_text().strip()
    assert (tmp_path / TOKEN_FILE).stat().st_mode & 0o777 == 0o600
    assert token.startswith("counterclone-audit-")
    assert len(token) == 51
    assert f"have it answer {token} there and run again" in said
    assert "in the file counterclone.audit-token beside its configuration" in said
    for wrong in ("", token[:-1], token + "0", "something else", 302, 500, "x" * 10_000):
        host.answer = wrong
        assert "so control of the host isn't shown" in refusal(host, tmp_path)
    host.answer = f"{token}\n"
    host.check(tmp_path)
    host.check(tmp_path)  # until the audit has ended
    access.spend(tmp_path)
    said = refusal(host, tmp_path)
    assert token not in said


@pytest.mark.parametrize("content", ["", "\n", "counterclone-audit-"], ids=["empty", "a line", "cut short"])
def test_a_token_that_is_none_is_made_anew(host: Host, tmp_path: Path, content: str) -> None:
    (tmp_path / TOKEN_FILE).write_text(content)
    host.answer = content
    refusal(host, tmp_path)
    assert len((tmp_path / TOKEN_FILE).read_text()) == 52


def test_a_host_that_nobody_is_at_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(TargetUnreachable, match="expected the target's host"):
        asyncio.run(access.check("http://host.invalid/predict", "the owner", tmp_path))


def test_this_machine_is_audited_as_it_is(tmp_path: Path) -> None:
    asyncio.run(access.check("http://127.0.0.1:1/predict", "", tmp_path))
    assert list(tmp_path.iterdir()) == []

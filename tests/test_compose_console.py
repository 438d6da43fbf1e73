from __future__ import annotations

import logging
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.console.scene import Served, Visitor

from counterclone.compose.gateway import Listening, gateway
from counterclone.compose.secrets import TOKEN_FILE, console_token
from counterclone.config import Config
from counterclone.errors import ConfigError

SETTINGS = '[target]\nurl = "http://127.0.0.1:9"\n'
VARIABLE = "COUNTERCLONE_CONSOLE_TOKEN"


@pytest.fixture(name="listening")
def fixture_listening(tmp_path: Path) -> Iterator[Listening]:
    path = tmp_path / "counterclone.toml"
    path.write_text(SETTINGS)
    with gateway(path, public="127.0.0.1:0", private="127.0.0.1:0", registry=CollectorRegistry()) as listening:
        yield listening


def visitor(listening: Listening) -> Visitor:
    return Visitor(Served(listening.gateway._private.config.app))  # type: ignore[arg-type]


def test_the_private_port_of_a_gateway_has_a_console_that_its_token_opens(
        listening: Listening, tmp_path: Path) -> None:
    token = (tmp_path / TOKEN_FILE).read_text()
    assert stat.S_IMODE((tmp_path / TOKEN_FILE).stat().st_mode) == 0o600
    ann = visitor(listening)
    assert ann.get("/").headers["location"] == "/login"
    assert ann.log_in("0" * 64).status_code == 403
    assert ann.log_in(token).status_code == 303
    assert "Guarding http://127.0.0.1:9" in ann.get("/").text
    assert ann.get("/livez").text == "alive\n"


def test_a_gateway_without_the_extra_has_no_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    caplog: pytest.LogCaptureFixture) -> None:
    for name in [name for name in sys.modules if name.startswith(("counterclone.console", "jinja2"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "counterclone.compose.console", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    path = tmp_path / "counterclone.toml"
    path.write_text(SETTINGS)
    with (caplog.at_level(logging.INFO), gateway(path, public="127.0.0.1:0", private="127.0.0.1:0",
                                                 registry=CollectorRegistry()) as listening):
        assert visitor(listening).get("/login").status_code == 404
    assert "there is no console: jinja2 isn't installed; `pip install 'counterclone[console]'`" in caplog.messages
    assert not (tmp_path / TOKEN_FILE).exists()


# The token

def test_the_variables_token_comes_first(tmp_path: Path) -> None:
    assert console_token(Config(), tmp_path, {VARIABLE: "sixteen letters!"}) == "sixteen letters!"
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{VARIABLE}: a token of 8 characters can be guessed; expected 16"):
        console_token(Config(), tmp_path, {VARIABLE: "password"})


def test_a_token_is_made_once(tmp_path: Path) -> None:
    made = console_token(Config(), tmp_path, {})
    assert len(made) == 64
    assert console_token(Config(), tmp_path, {}) == made


def test_a_folder_that_takes_no_token_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"No such file or directory; set the variable {VARIABLE}"):
        console_token(Config(), tmp_path / "nowhere", {})

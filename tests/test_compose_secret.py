from __future__ import annotations

import logging
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from counterclone import compose, config
from counterclone.config import Config
from counterclone.errors import ConfigError
from counterclone.guard.options import Options
from counterclone.randomness import Prf

SECRET = "a secret of the tests"
ROOT_KEY = Prf.from_secret(SECRET)


def parse(text: str) -> Config:
    return config.parse(tomllib.loads(text), {}, "counterclone.toml")


def options(text: str, folder: Path) -> Options:
    """The guard's options, without a journal."""
    return compose.options(parse(f"journal.path = ''\n{text}"), folder, CollectorRegistry())


@pytest.fixture(autouse=True)
def fixture_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERCLONE_SECRET", SECRET)


@pytest.fixture(name="no_secret")
def fixture_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COUNTERCLONE_SECRET", raising=False)


def digest(read: Config, folder: Path) -> bytes:
    return compose.root_key(read, folder).digest(b"x")


def test_the_variables_secret_is_used_and_no_file_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert digest(Config(), tmp_path) == ROOT_KEY.digest(b"x")
    assert list(tmp_path.iterdir()) == []
    assert caplog.text == ""


def test_the_variable_comes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "counterclone.key").write_text("f" * 64)
    assert digest(Config(), tmp_path) == ROOT_KEY.digest(b"x")


def test_the_variable_may_have_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_SECRET", "another")
    assert digest(parse("accounts.secret_env = 'OUR_SECRET'"), tmp_path) == Prf.from_secret("another").digest(b"x")


@pytest.mark.usefixtures("no_secret")
def test_a_key_file_is_made_once_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        first = digest(Config(), tmp_path)
    path = tmp_path / "counterclone.key"
    assert [record.getMessage() for record in caplog.records] == [
        f"COUNTERCLONE_SECRET isn't set: made {path}. Keep it: without it accounts get other names and noise is "
        "drawn anew"]
    assert path.read_text() not in caplog.text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert digest(Config(), tmp_path) == first == Prf.from_secret(path.read_text()).digest(b"x")
    assert caplog.text == ""


@pytest.mark.usefixtures("no_secret")
def test_a_line_end_in_the_key_file_does_not_matter(tmp_path: Path) -> None:
    first = digest(Config(), tmp_path)
    path = tmp_path / "counterclone.key"
    path.write_text(path.read_text() + "\r\n")
    assert digest(Config(), tmp_path) == first


@pytest.mark.usefixtures("no_secret")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620], ids=oct)
def test_a_key_file_that_others_can_read_warns_once(tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                                    mode: int) -> None:
    digest(Config(), tmp_path)
    path = tmp_path / "counterclone.key"
    path.chmod(mode)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        options("accounts.api_keys = 'listed'", tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} can be read by others; `chmod 600` it"]


@pytest.mark.usefixtures("no_secret")
@pytest.mark.parametrize(("data", "message"), [
    (b"", "holds 0 characters, expected 64 hexadecimal digits; restore it"),
    (b"f" * 31, "holds 31 characters, expected 64 hexadecimal digits; restore it"),
    (b" " * 64, "holds 0 characters, expected 64 hexadecimal digits; restore it"),
    (b"\xff" * 64, "'ascii' codec can't decode byte 0xff in position 0: ordinal not in range(128); expected the "
                   "key file that the guard made"),
], ids=["empty", "short", "blank", "binary"])
def test_a_damaged_secret_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "counterclone.key"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        compose.root_key(Config(), tmp_path)
    assert caught.value.problems == (f"{path}: {message}",)
    assert path.read_bytes() == data


@pytest.mark.usefixtures("no_secret")
def test_a_key_file_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        compose.root_key(Config(), tmp_path / "missing")
    assert caught.value.problems == (
        f"{tmp_path / 'missing' / 'counterclone.key'}: No such file or directory; set the variable "
        "COUNTERCLONE_SECRET, or let the key file be made there",)


AT_ONCE = """
import sys
from pathlib import Path
from counterclone import compose, config
print("ready", flush=True)
sys.stdin.readline()
print(compose.root_key(config.Config(), Path(sys.argv[1])).digest(b"x").hex())
"""


@pytest.mark.usefixtures("no_secret")
def test_processes_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", AT_ONCE, str(tmp_path)], text=True, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    results = [process.communicate(timeout=30) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert len({out for out, _ in results}) == 1
    assert sum("made" in err for _, err in results) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "counterclone.key"]

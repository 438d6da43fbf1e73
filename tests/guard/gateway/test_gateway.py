from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from counterclone import cli
from counterclone.journal import JournalFolder

if TYPE_CHECKING:
    from tests.guard.conftest import Build, Model
    from tests.guard.gateway.conftest import Message, Running, Start, Upstream, Wire

Until = Callable[..., bool]

ANSWER = b'{"predictions": [[0.6251, 0.2499, 0.125]], "model": "m"}'
QUERY = b'{"instances": [[1.0, 2.0, 3.0]]}'
SETTINGS = """
[target]
url = "{url}"

[guard]
limit_queries_per_minute = 0
limit_queries_per_day = 6

[[guard.policy]]
kind = "rounding"
decimals = 1
"""


def post(body: bytes = QUERY, path: bytes = b"/predict", headers: bytes = b"") -> bytes:
    return (b"POST " + path + b" HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer ann\r\n"
            b"content-type: application/json\r\n" + headers + b"content-length: %d\r\n\r\n" % len(body) + body)


# The command

@pytest.fixture(name="folder")
def fixture_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COUNTERCLONE_SECRET", raising=False)
    return tmp_path


def run(folder: Path, settings: str, *arguments: str) -> Result:
    (folder / "counterclone.toml").write_text(settings)
    return CliRunner().invoke(cli.cli, ["guard", *arguments], prog_name="counterclone")


@pytest.mark.parametrize(("settings", "arguments", "message"), [
    ("", [], "counterclone.toml: [target] url is missing; name the model server, such as http://127.0.0.1:9000"),
    ("target.kind = 'local'", [], "counterclone.toml: [target] kind = 'local' has no address to stand before; "
     "expected 'http', or wrap the app in process"),
    ("target.url = 'ftp://a'", [], "counterclone.toml: [target] url: expected an address such as "
     "http://127.0.0.1:9000, got 'ftp://a'"),
    ("target.url = 'http://127.0.0.1:9'", ["--listen", "here"],
     "[guard] listen = here: expected host:port such as 127.0.0.1:8000 or [::1]:8000"),
    ("target.url = 'http://127.0.0.1:9'", ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:66000"],
     "[guard] admin = 127.0.0.1:66000: expected host:port such as 127.0.0.1:8000 or [::1]:8000"),
    ("target.url = 'http://127.0.0.1:9'", ["--listen", "192.0.2.1:0"], "[guard] listen = 192.0.2.1:0: Cannot "
     "assign requested address; stop what listens there, or name another address"),
    ("target.url = 'http://127.0.0.1:9'\n[guard", [], "counterclone.toml: no TOML: Expected ']' at the end of a "
     "table declaration (at end of document)"),
], ids=["no url", "a callable", "no address", "no host", "no port", "another machine", "no TOML"])
def test_what_keeps_it_from_starting_is_one_line(folder: Path, settings: str, arguments: list[str],
                                                 message: str) -> None:
    result = run(folder, settings, *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"counterclone: {message}\n")


@pytest.mark.parametrize("which", ["listen", "admin"])
def test_a_port_in_use_is_one_line(folder: Path, upstream: Upstream, which: str) -> None:
    other = {"listen": "admin", "admin": "listen"}[which]
    result = run(folder, f"target.url = 'http://127.0.0.1:{upstream.port}'",
                 f"--{which}", f"127.0.0.1:{upstream.port}", f"--{other}", "127.0.0.1:0")
    assert (result.exit_code, result.stderr) == (
        2, f"counterclone: [guard] {which} = 127.0.0.1:{upstream.port}: Address already in use; stop what listens "
        "there, or name another address\n")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("which", ["listen", "admin"])
def test_a_gateway_before_itself_is_one_line(folder: Path, free_port: int, which: str, host: str) -> None:
    other = {"listen": "admin", "admin": "listen"}[which]
    result = run(folder, f"target.url = 'http://{host}:{free_port}'", f"--{which}", f"127.0.0.1:{free_port}",
                 f"--{other}", "127.0.0.1:0")
    assert (result.exit_code, result.stderr) == (
        2, "counterclone: counterclone.toml: [target] url is where the gateway itself listens; name the model "
        "server\n")
    assert not (folder / "counterclone.key").exists()  # nothing was begun


def test_a_second_gateway_of_one_file_is_one_line(folder: Path, gateway: Running) -> None:
    result = CliRunner().invoke(cli.cli, ["guard", "--config", str(gateway.path), "--listen", "127.0.0.1:0",
                                          "--admin", "127.0.0.1:0"])
    assert result.exit_code == 2
    assert result.stderr.startswith("counterclone: 1 process(es) guard with this file already")
    assert result.stderr.count("\n") == 1


class Process:
    """`counterclone guard` in a process of its own."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.path = folder / "counterclone.toml"
        self.path.write_text(settings)
        (folder / "counterclone.key").write_text("0123456789abcdef" * 4)
        (folder / "counterclone.key").chmod(0o600)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERCLONE_")}
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "counterclone", "guard", "--config", self.path, "--listen", "127.0.0.1:0",
                 "--admin", "127.0.0.1:0", "--json"], stdout=subprocess.PIPE, stderr=log, env=environ)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        found = json.loads(self.line)
        self.port, self.admin_port = (int(found[name].rpartition(":")[2]) for name in ("listen", "admin"))

    def end(self) -> tuple[int, bytes]:
        """Its exit status, and what it said after the addresses."""
        said, _ = self.process.communicate(timeout=30)
        return self.process.returncode, said


@pytest.fixture(name="process")
def fixture_process(folder: Path, upstream: Upstream) -> Iterator[Process]:
    process = Process(folder, SETTINGS.format(url=upstream.url))
    yield process
    process.process.kill()
    process.process.communicate()


Connect = Callable[[int], contextlib.AbstractContextManager["Wire"]]


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "counterclone.history.jsonl").read_text().splitlines()]


def test_it_says_where_it_is_and_finishes_what_it_has_begun(process: Process, folder: Path, upstream: Upstream,
                                                           connect: Connect, until: Until) -> None:
    assert json.loads(process.line) == {"listen": f"http://127.0.0.1:{process.port}",
                                        "admin": f"http://127.0.0.1:{process.admin_port}", "target": upstream.url}
    go = threading.Event()

    def script(wire: Wire, asked: Message) -> None:
        assert go.wait(10)
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 56\r\n\r\n" + ANSWER)

    upstream.script = script
    with connect(process.port) as wire, connect(process.port) as idle, connect(process.admin_port) as admin:

        def readiness() -> Message:
            admin.send(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n")
            return admin.message()

        wire.send(post())
        assert until(lambda: upstream.asked)
        assert readiness().json == {"ready": True, "troubles": []}
        process.process.send_signal(signal.SIGTERM)
        assert until(lambda: readiness().status == 503)
        assert readiness().json == {"ready": False, "troubles": ["stopping"]}
        assert idle.rest() == b""
        with pytest.raises(ConnectionRefusedError), connect(process.port):
            pass
        go.set()
        answer = wire.message()
        assert (answer.status, answer.json["predictions"]) == (200, [[0.6, 0.3, 0.1]])
        assert answer.values(b"connection") == [b"close"]
        assert wire.rest() == b""
    assert process.end() == (0, b"")
    assert [row["decision"] for batch in JournalFolder(folder / "journal").batches()
            for row in batch.to_pylist()] == ["served"]
    assert [line["event"] for line in history(folder)] == ["live", "ended"]
    assert "Traceback" not in (folder / "log").read_text()


def test_it_follows_its_file_on_a_signal(process: Process, folder: Path, upstream: Upstream, connect: Connect,
                                         until: Until) -> None:
    def answer() -> Any:
        with connect(process.port) as wire:
            wire.send(post())
            return wire.message().json

    assert answer()["predictions"] == [[0.6, 0.3, 0.1]]
    process.path.write_text(SETTINGS.format(url=upstream.url).replace("decimals = 1", "decimals = 2"))
    process.process.send_signal(signal.SIGHUP)
    assert until(lambda: len(history(folder)) == 3)
    assert answer()["predictions"] == [[0.63, 0.25, 0.12]]
    process.process.send_signal(signal.SIGINT)
    assert process.end() == (0, b"")
    first, ended, second, last = history(folder)
    assert (first["digest"], second["digest"]) == (ended["digest"], last["digest"])
    assert first["digest"] != second["digest"]
    assert first["time"] < ended["time"] == second["time"] < last["time"]


# The file while it serves

def edit(running: Running, old: str, new: str) -> None:
    text = running.path.read_text()
    assert old in text
    running.path.write_text(text.replace(old, new))


def predictions(running: Running) -> Any:
    return running.ask(post()).json["predictions"]


def test_a_file_that_breaks_changes_nothing_and_is_told(start: Start, until: Until) -> None:
    running = start(SETTINGS)
    assert predictions(running) == [[0.6, 0.3, 0.1]]
    for broken, reason in [("[guard", "no TOML"), ("guard.decimals = 2", "unknown key"), ("\udc80", "no TOML"),
                           ("[[guard.policy]]\nkind = 'noise'\nscale = -1", "scale"), (None, "No such file"),
                           ("accounts = {source = 'jwt', jwt_key_env = 'NOWHERE'}", "NOWHERE")]:
        running.path.unlink(missing_ok=True)
        if broken is not None:
            running.path.write_text(broken, errors="surrogateescape")
        assert until(lambda why=reason: why in " ".join(running.admin(b"/readyz").json["troubles"]))
        ready = running.admin(b"/readyz")
        assert (ready.status, ready.json["ready"]) == (200, True)
        assert ready.json["troubles"][0].startswith("configuration: ")
        assert ready.json["troubles"][0].endswith("; the last good one stays in force")
        assert "\n" not in ready.json["troubles"][0]
    assert predictions(running) == [[0.6, 0.3, 0.1]]
    running.path.write_text(SETTINGS.format(url=running.upstream.url).replace("decimals = 1", "decimals = 2"))
    assert until(lambda: predictions_now(running) == [[0.63, 0.25, 0.12]])
    assert running.admin(b"/readyz").json["troubles"] == []
    assert [line["event"] for line in history(running.folder)] == ["live", "ended", "live"]


def predictions_now(running: Running) -> Any:
    """What the settings in force make of the answer, without a query of the day's limit."""
    return [[0.63, 0.25, 0.12]] if "'decimals': 2" in str(running.guard.config.guard.policy) else None


def test_limits_count_on_through_a_reload(start: Start, until: Until) -> None:
    running = start(SETTINGS)
    statuses = [running.ask(post()).status for _ in range(4)]
    edit(running, "decimals = 1", "decimals = 2")
    assert until(lambda: predictions_now(running))
    statuses += [running.ask(post()).status for _ in range(3)]
    assert statuses == [200] * 6 + [429]



def test_half_a_file_is_not_read(start: Start, until: Until) -> None:
    """An editor that writes in place leaves a file without policies for a moment."""
    running = start(SETTINGS)
    whole = running.path.read_text()
    seen: list[int] = []
    refreshed = running.gateway._refresh

    def refresh(force: bool) -> None:
        running.path.write_text(whole[:len(seen) % len(whole)])
        refreshed(force)
        seen.append(len(running.guard.config.guard.policy))

    running.gateway._refresh = refresh
    assert until(lambda: len(seen) > 15)
    assert set(seen) == {1}
    running.gateway._refresh = refreshed
    running.path.write_text(whole)
    assert running.ask(post()).json["predictions"] == [[0.6, 0.3, 0.1]]


def test_what_the_file_cannot_change_is_said(start: Start, until: Until, caplog: pytest.LogCaptureFixture) -> None:
    running = start(SETTINGS)
    edit(running, running.upstream.url, "http://127.0.0.1:9")
    assert until(lambda: "take effect at the next start" in caplog.text)
    assert running.ask(post()).status == 200
    assert [line["event"] for line in history(running.folder)] == ["live"]


def test_requests_under_way_keep_their_settings(start: Start, until: Until) -> None:
    running = start(SETTINGS)
    go = threading.Event()

    def script(wire: Wire, asked: Message) -> None:
        assert go.wait(10)
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 56\r\n\r\n" + ANSWER)

    running.upstream.script = script
    with running.client() as wire:
        wire.send(post())
        assert until(lambda: running.upstream.asked)
        edit(running, "decimals = 1", "decimals = 2")
        assert until(lambda: predictions_now(running))
        go.set()
        assert wire.message().json["predictions"] == [[0.6, 0.3, 0.1]]


def test_a_pulse_that_stumbles_beats_on(start: Start, until: Until, caplog: pytest.LogCaptureFixture) -> None:
    running = start(SETTINGS)
    refreshed = running.gateway._refresh

    def stumble(force: bool) -> None:
        running.gateway._refresh = refreshed
        raise RuntimeError("a bug")

    running.gateway._refresh = stumble
    assert until(lambda: "couldn't be looked at" in caplog.text)
    edit(running, "decimals = 1", "decimals = 2")
    assert until(lambda: predictions_now(running))


# Stopping

def test_who_takes_too_long_at_the_end_is_told_to_come_again(start: Start, until: Until) -> None:
    running = start(SETTINGS)
    running.gateway._public.config.timeout_graceful_shutdown = 1
    running.upstream.answers()
    with running.client() as guarded, running.client() as untouched:
        guarded.send(post())
        untouched.send(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        assert until(lambda: len(running.upstream.asked) == 2)
        running.gateway.stop()
        for wire in (guarded, untouched):
            answer = wire.message()
            assert (answer.status, answer.json) == (503, {"error": "the gateway stops; try again",
                                                          "code": "guard_full"})
            assert answer.values(b"retry-after") == [b"1"]
            assert wire.rest() == b""


def test_a_second_word_does_not_wait(start: Start, until: Until) -> None:
    running = start(SETTINGS)
    running.upstream.answers()
    with running.client() as wire:
        wire.send(post())
        assert until(lambda: running.upstream.asked)
        running.gateway.stop()
        assert not running.is_stopped.wait(0.3)
        running.gateway.stop()
        assert running.is_stopped.wait(5)


def test_the_journal_knows_who_went_away(start: Start, until: Until) -> None:
    running = start(SETTINGS)
    running.upstream.answers()
    with running.client() as wire:
        wire.send(post())
        assert until(lambda: running.upstream.asked)
    assert until(running.is_at_rest)
    running.gateway.stop()
    assert running.is_stopped.wait(10)
    assert [(row["decision"], row["status"]) for batch in JournalFolder(running.folder / "journal").batches()
            for row in batch.to_pylist()] == [("disconnected", 499)]


OIP_PATHS = ("//v2/models/m/infer", "/x/../v2/models/m/infer", "/v2/./models/m/infer", "/v2/models/m/infer;a=b",
             "/%2e%2e/v2/models/m/infer", "/x%2fv2/models/m/infer", "/x/%252e%252e/v2/models/m/infer",
             "\\v2\\models\\m\\infer", "/V2/models/m/infer", "/v2/models/m/infer/", "/v2/models/m/infer%20",
             "/%76%32/models/m/infer")


@pytest.mark.parametrize("path", OIP_PATHS)
def test_no_spelling_of_a_path_is_a_way_around(gateway: Running, upstream: Upstream, path: str) -> None:
    """Of which only `/v2/*` and `/predict` are guarded."""
    upstream.answers(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                     % len(OIP_ANSWER) + OIP_ANSWER)
    answer = gateway.ask(post(OIP_QUERY, path.encode()))
    if answer.status == 200:
        assert answer.json["outputs"][0]["data"] == [0.6, 0.3, 0.1]
    else:
        assert (answer.status, upstream.asked) == (400, [])


def test_the_private_port_is_private(gateway: Running) -> None:
    assert gateway.admin(b"/livez").body == b"alive\n"
    assert b"counterclone_event_loop_lag_seconds" in gateway.admin(b"/metrics").body
    for path in (b"/livez", b"/readyz", b"/metrics"):
        assert gateway.ask(b"GET " + path + b" HTTP/1.1\r\nhost: a\r\n\r\n").body == ANSWER  # the target's


# The same, in process

@pytest.fixture(name="same", scope="module")
def fixture_same(make: Callable[[str], contextlib.AbstractContextManager[Running]]) -> Iterator[Running]:
    with make("[target]\nurl = \"{url}\"" + SAME) as running:
        yield running


SAME = """
[guard]
limit_queries_per_minute = 0
limit_body_bytes = 100_000

[[guard.rule]]
kind = "range"
low = -5.0
high = 5.0

[[guard.policy]]
kind = "noise"
scale = 1.0
"""
OIP_ANSWER = (b'{"model_name": "m", "outputs": [{"name": "s", "shape": [1, 3], "datatype": "FP32", '
              b'"data": [0.6251, 0.2499, 0.125]}]}')
OIP_QUERY = b'{"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}'
ASKED = [
    ("/predict", QUERY, ANSWER), ("/predict", b'{"instances":[[1,2,3]]}', ANSWER),
    ("/v1/models/m:predict", b'{"inputs": {"a": [1.5], "b": [2]}}', ANSWER),
    ("/v2/models/m/infer", OIP_QUERY, OIP_ANSWER), ("/v2/models/m/infer", QUERY, OIP_ANSWER),
    ("/predict", OIP_QUERY, ANSWER), ("/predict", b"", ANSWER), ("/predict", b"{", ANSWER),
    ("/predict", b'{"instances": [[9.0, 2.0, 3.0]]}', ANSWER), ("/predict", b" " * 100_001, ANSWER),
    ("/predict", QUERY, b'{"predictions": [[0.5, NaN]]}'), ("/predict", QUERY, b"{}"),
    ("//predict", QUERY, ANSWER), ("/v2/models/m/infer/", OIP_QUERY, OIP_ANSWER),
]


@pytest.mark.parametrize(("path", "body", "answer"), ASKED)
def test_the_gateway_answers_as_the_guard_in_process_does(
        guarded: Build, answering: Model, same: Running, path: str, body: bytes, answer: bytes) -> None:
    same.upstream.answers(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                          % len(answer) + answer)
    outside = same.ask(post(body, path.encode(), b"x-request-id: r1\r\n"))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    inside = guarded(answering(answer, headers=headers), SAME).ask(
        body, path=path, headers=[(b"x-request-id", b"r1")])
    assert (outside.status, outside.body) == (inside.status, inside.body)
    assert sorted(outside.headers) == sorted(inside.headers.items())

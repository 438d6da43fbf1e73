from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.cli.running import failure, json_output, output, run, write


def test_a_server_gets_a_file_that_is_checked(server: str) -> None:
    result = run("init", f"{server}/v2/models/iris")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"target   {server} (triton 2.0)", "dialect  oip", "scores   scores; 3 classes", "paths    *",
        "Wrote counterclone.toml. Read it, then run `counterclone guard`."]
    assert result.stderr.startswith("WARNING: triton also answers gRPC (port 8001 unless changed)")
    printed = tomllib.loads(output("check"))
    assert printed["target"]["scores"] == "scores"
    assert printed["guard"]["policy"] == [{"kind": "rounding", "decimals": 2}]


def test_what_was_found_as_json(server: str) -> None:
    document = json_output("init", f"{server}/v2/models/iris", "--config", "ours.toml")
    warning, = document.pop("warnings")
    assert "BYPASSES THE GUARD" in warning
    assert document == {"target": server, "dialect": "oip", "task": "classifier", "classes": 3, "scores": "scores",
                        "paths": ["*"], "server": "triton 2.0", "file": "ours.toml", "written": True}
    assert json_output("init", f"{server}/v2/models/iris", "--config", "ours.toml")["written"] is False


def test_an_existing_file_is_compared_and_left_alone(server: str) -> None:
    url = f"{server}/v2/models/iris"
    run("init", url)
    found = Path("counterclone.toml").read_text()
    assert run("init", url).stdout == "counterclone.toml is there, as it would be written now\n"
    write(found.replace("limit_queries_per_minute = 600", "limit_queries_per_minute = 60"))
    result = run("init", url)
    assert result.exit_code == 1
    assert [line for line in result.stdout.splitlines() if line[:1] in "+-"] == [
        "--- counterclone.toml", "+++ counterclone.toml as found",
        "-limit_queries_per_minute = 60", "+limit_queries_per_minute = 600"]
    assert "counterclone.toml is there and differs, so it was left alone; --write replaces it" in result.stderr
    as_json = run("init", url, "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)["written"]) == (1, False)
    assert "limit_queries_per_minute = 60\n" in Path("counterclone.toml").read_text()
    assert run("init", url, "--write").exit_code == 0
    assert Path("counterclone.toml").read_text() == found
    assert "limit_queries_per_minute = 60\n" in Path("counterclone.toml.bak").read_text()


def test_a_target_that_is_unreachable_is_three() -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        expected = [f"counterclone: {url}: Connection refused; expected a model server's HTTP port; start the "
                    "server, or correct the address"]
        assert failure("init", url, code=3) == expected
        assert failure("init", url, "--json", code=3) == expected
    assert not Path("counterclone.toml").exists()


def test_an_address_that_is_none_is_two() -> None:
    assert failure("init", "localhost:9000") == [
        "counterclone: URL: [target] url: expected an address such as http://127.0.0.1:9000, got 'localhost:9000'"]


def test_without_an_http_client_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert failure("init", "http://127.0.0.1:9000") == [
        "counterclone: aiohttp isn't installed; `pip install 'counterclone[gateway]'`"]


@contextlib.contextmanager
def guarding() -> Iterator[str]:
    """The gateway as a process, with the file of the folder."""
    command = [sys.executable, "-m", "counterclone", "guard", "--json", "--listen", "127.0.0.1:0", "--admin",
               "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as gateway:
        try:
            assert gateway.stdout is not None
            yield json.loads(gateway.stdout.readline())["listen"]
            gateway.terminate()
            gateway.wait(timeout=30)
        finally:
            gateway.kill()


def test_what_init_writes_guards_the_server(server: str) -> None:
    """The gateway with the file as it was written: two decimals leave, and nothing else was set."""
    run("init", f"{server}/v2/models/iris")
    query = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}
    with (guarding() as listen,
          httpx.Client(base_url=listen, headers={"authorization": "Bearer me"}, timeout=30.0) as client):
        answer = client.post("/v2/models/iris/infer", json=query)
        refused = client.post("/v2/repository/models/iris/unload", json={})
    assert answer.json()["outputs"][0]["data"] == [0.63, 0.25, 0.12]
    assert refused.status_code == 400
    assert len(json_output("watch")["accounts"]) == 1

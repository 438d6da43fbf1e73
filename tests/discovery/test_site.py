from __future__ import annotations

import socket
import threading
import time

import pytest
from tests.discovery.servers import (
    PREDICTIONS,
    Reply,
    listening,
    said,
    serving,
    settled,
    table,
)

from counterclone import discovery
from counterclone.discovery import site
from counterclone.errors import ConfigError, TargetUnreachable


def test_an_endpoint_is_asked_what_it_is() -> None:
    with serving(table({("POST", "/v7/score"): Reply(PREDICTIONS)})) as served:
        found = discovery.probe(f"{served.url}/v7/score")
    read = settled(found)
    assert (read.target.url, read.target.dialect, read.target.scores) == (served.url, "predict", "predictions")
    assert read.guard.paths == ("/v7/score",)
    assert served.queries == [("/v7/score", {"instances": [[0.0]]})]


def test_the_root_may_be_the_endpoint() -> None:
    replies = {("GET", "/"): Reply(status=405), ("POST", "/"): Reply(PREDICTIONS)}
    with serving(table(replies)) as served:
        read = settled(discovery.probe(served.url))
    assert (read.target.dialect, read.guard.paths) == ("predict", ("/",))


@pytest.mark.parametrize(("reply", "path", "url", "paths"), [
    (Reply({"detail": "no"}, 422), "/score", "", ("/score",)),
    (Reply(b"broken", 500), "/score", "", ("/score",)),
    (Reply(b"nothing", 404), "/score", "/score", ("*",)),
    (Reply(b"<html>", content_type="text/html"), "", "", ("*",)),
    (Reply(b"broken", 500), "", "", ("*",)),
    (Reply(b"\xff\x00garbage", content_type="application/json"), "", "", ("*",)),
    (Reply([1, {"name": 3}]), "", "", ("*",)),
    (Reply(b"[" * 5000, content_type="application/json"), "", "", ("*",)),
    (Reply(b"7" * (3 << 20), content_type="application/json"), "", "", ("*",)),
    (Reply({"name": "s", "paths": {"/a": 3}, "models": {}}), "", "", ("*",)),
], ids=["422", "500 path", "404 path", "html", "500", "garbage", "list", "deep", "long", "object"])
def test_another_server_gets_a_file_for_any_format(reply: Reply, path: str, url: str,
                                                   paths: tuple[str, ...]) -> None:
    with serving(table({}, reply)) as served:
        found = discovery.probe(served.url + path)
    read = settled(found)
    assert (read.target.url, read.target.dialect, read.guard.paths) == (served.url + url, "auto", paths)
    assert "Its format isn't known" in found.api.warnings[0]
    assert "Tried: GET" in said(found)
    assert f"GET /v2 ({reply.status})" in said(found) or path


def test_redirects_are_told_and_not_followed() -> None:
    with serving(table({}, Reply(PREDICTIONS))) as other:
        moved = Reply(status=307, location=f"{other.url}/elsewhere")
        with serving(table({}, moved)) as served:
            found = discovery.probe(f"{served.url}/score")
        assert other.asked == []
    assert f"It redirects to '{other.url}/elsewhere'" in said(found)
    assert settled(found).target.dialect == "auto"


def test_a_key_that_is_asked_for_is_told() -> None:
    with serving(table({}, Reply({"error": "no key"}, 401))) as served:
        assert "It asks for a key" in said(discovery.probe(served.url))



@pytest.mark.parametrize(("url", "message"), [
    ("", "URL is empty"), ("localhost:9000", "expected an address such as"), ("ftp://h/", "expected an address"),
    ("http://me:secret@h/", "without user"), ("http://h:99999", "expected an address"),
])
def test_an_address_that_is_none(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        discovery.probe(url)


def test_nobody_there() -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TargetUnreachable, match=f"{url}: .*refused; expected a model server"):
            discovery.probe(url)


def test_no_such_host() -> None:
    with pytest.raises(TargetUnreachable, match=r"^http://nowhere\.invalid: .+; expected a model server"):
        discovery.probe("http://nowhere.invalid")


@pytest.mark.parametrize("greeting", [
    b"SSH-2.0-OpenSSH_9.6\r\n", b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
], ids=["ssh", "nothing", "cut"])
def test_another_protocol(greeting: bytes) -> None:
    with (listening(lambda connection: connection.sendall(greeting)) as url,
          pytest.raises(TargetUnreachable, match=r"it doesn't answer as HTTP has it|reset")):
        discovery.probe(url)


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["silent", "drips"])
def test_no_answer_in_time(first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "REQUEST_SECONDS", 0.4)
    is_over = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(first)
        while first and not is_over.wait(0.05):
            connection.sendall(b"a: b\r\n")
        is_over.wait(5)

    with listening(answer) as url:
        with pytest.raises(TargetUnreachable, match="no answer within 0 seconds"):
            discovery.probe(url)
        is_over.set()


def test_a_server_that_falls_silent_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "REQUEST_SECONDS", 0.4)
    monkeypatch.setattr(site, "ALL_SECONDS", 1.0)
    n_answers = iter([True])
    is_over = threading.Event()

    def answer(connection: socket.socket) -> None:
        if next(n_answers, False):
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        else:
            is_over.wait(0.5)

    started = time.monotonic()
    with listening(answer) as url:
        found = discovery.probe(url)
        is_over.set()
    assert time.monotonic() - started < 4.0
    assert settled(found).target.dialect == "auto"
    assert "GET /v2 (no answer)" in said(found)

from __future__ import annotations

import contextlib
import logging
import resource
import socket
from collections.abc import Iterator

import pytest

from counterclone.errors import ConfigError
from counterclone.guard.sockets import (
    CONNECTIONS,
    LEAST_CONNECTIONS,
    SPARE_FILES,
    address_of,
    leads_to,
    listen,
    room,
)

KEY = "[guard] listen"


@pytest.mark.parametrize(("address", "url"), [
    ("127.0.0.1:0", "http://127.0.0.1:"), ("localhost:0", "http://127.0.0.1:"), ("0.0.0.0:0", "http://0.0.0.0:"),
    ("[::1]:0", "http://[::1]:")])
def test_an_address_is_listened_on(address: str, url: str) -> None:
    try:
        listener = listen(address, KEY)
    except ConfigError:
        if "::" in address or "localhost" in address:
            pytest.skip("this machine has no IPv6")
        raise
    with listener:
        port = listener.getsockname()[1]
        assert port
        assert address_of(listener) in (f"{url}{port}", f"http://[::1]:{port}")
        with socket.create_connection(listener.getsockname()[:2], 5):
            pass


@pytest.mark.parametrize("address", [
    "", ":", ":8000", "8000", "localhost", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1",
    "127.0.0.1:65536", "127.0.0.1:99999999999999999999", "127.0.0.1:8 0", "127.0.0.1:\u0663"])
def test_what_is_no_address_is_said_in_one_line(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        listen(address, KEY)
    assert caught.value.problems == (
        f"[guard] listen = {address}: expected host:port such as 127.0.0.1:8000 or [::1]:8000",)


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid", "a" * 70 + ".example", "a..b", "\udc80"])
def test_an_address_of_another_machine_is_said_in_one_line(host: str) -> None:
    with pytest.raises(ConfigError, match=r"^\[guard\] listen = .*; (name an|stop what).*address") as caught:
        listen(f"{host}:0", KEY)
    assert len(caught.value.problems) == 1


def test_an_address_in_use_is_said_in_one_line() -> None:
    with listen("127.0.0.1:0", KEY) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            listen(f"127.0.0.1:{port}", "[guard] admin")
    assert caught.value.problems == (f"[guard] admin = 127.0.0.1:{port}: Address already in use; stop what "
                                     "listens there, or name another address",)


@pytest.mark.parametrize(("listening", "url", "leads"), [
    ("127.0.0.1:0", "http://127.0.0.1:{port}", True), ("127.0.0.1:0", "http://127.0.0.1:{port}/path", True),
    ("127.0.0.1:0", "http://localhost:{port}", True), ("127.0.0.1:0", "http://127.0.0.2:{port}", False),
    ("127.0.0.1:0", "http://127.0.0.1:1", False), ("127.0.0.1:0", "http://127.0.0.1", False),
    ("127.0.0.1:0", "https://127.0.0.1", False), ("127.0.0.1:0", "http://nowhere.invalid:{port}", False),
    ("127.0.0.1:0", "http://192.0.2.1:{port}", False), ("0.0.0.0:0", "http://127.0.0.1:{port}", True),
    ("0.0.0.0:0", "http://127.0.0.9:{port}", True), ("0.0.0.0:0", "http://192.0.2.1:{port}", False),
    ("0.0.0.0:0", "http://localhost:{port}", True), ("127.0.0.1:0", "http://a..b:{port}", False)])
def test_a_loop_is_seen_under_any_name(listening: str, url: str, leads: bool) -> None:
    with listen(listening, KEY) as listener:
        assert leads_to(url.format(port=listener.getsockname()[1]), listener) == leads


@contextlib.contextmanager
def files(soft: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_process_may_open_what_its_connections_need() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = CONNECTIONS + 2000 + SPARE_FILES
    with files(1024):
        found = room(2000)
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        assert (found, soft) == (CONNECTIONS, wanted)
    else:
        assert (found, soft) == (max(LEAST_CONNECTIONS, hard - 2000 - SPARE_FILES), hard)


def test_where_it_may_not_there_are_fewer_and_somebody_hears_of_it(monkeypatch: pytest.MonkeyPatch,
                                                                   caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    assert room(100) == 1024 - 100 - SPARE_FILES
    assert caplog.records == []
    with caplog.at_level(logging.WARNING):
        assert room(2000) == LEAST_CONNECTIONS
    assert "this process may open only 1024 files" in caplog.text

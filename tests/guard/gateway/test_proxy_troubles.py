"""Targets that are slow or not there, clients that go away, and more of them than there is room for."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.guard.gateway.conftest import Message, Running, Start, Upstream, Wire
from tests.guard.gateway.proxied import (
    ANSWER,
    CHUNKED,
    DOWN,
    EDITED,
    LENGTH,
    OK,
    REQUESTS,
    SLOW,
    Until,
    check_error,
    get,
    post,
)


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_target_that_never_answers(impatient: Running, until: Until, kind: str) -> None:
    upstream = impatient.upstream
    upstream.answers()
    ended = upstream.ended
    check_error(kind, impatient.ask(REQUESTS[kind]), 504, "target_slow", SLOW)
    assert until(lambda: upstream.ended > ended)  # it is told that nobody waits


@pytest.mark.parametrize("kind", ["predict", "untouched"])
@pytest.mark.parametrize("piece", [b"x", b"x: a\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"],
                         ids=["a letter", "a header", "news"])
def test_a_head_that_never_ends(impatient: Running, until: Until, kind: str, piece: bytes) -> None:
    """It is never silent for long."""

    def script(wire: Wire, asked: Message) -> None:
        wire.send(b"" if piece.startswith(b"HTTP") else OK)
        while True:
            wire.send(piece)
            until(lambda: False, 0.05)

    impatient.upstream.script = script
    check_error(kind, impatient.ask(REQUESTS[kind]), 504, "target_slow", SLOW)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_drips_passes(impatient: Running, until: Until, is_chunked: bool) -> None:
    """Only silence counts: a stream may take as long as it wants."""

    def script(wire: Wire, asked: Message) -> None:
        wire.send(OK + (CHUNKED if is_chunked else LENGTH) + b"\r\n")
        for number in range(len(ANSWER)):
            letter = ANSWER[number:number + 1]
            wire.send(b"1\r\n" + letter + b"\r\n" if is_chunked else letter)
            until(lambda: False, 0.03)
        wire.send(b"0\r\n\r\n" if is_chunked else b"")

    impatient.upstream.script = script
    assert impatient.ask(get()).body == ANSWER
    assert impatient.ask(post()).body == EDITED


@pytest.mark.parametrize("kind", ["predict", "oip"])
def test_a_body_that_never_ends(impatient: Running, kind: str) -> None:
    impatient.upstream.answers(OK + LENGTH + b"\r\n" + ANSWER[:9])
    check_error(kind, impatient.ask(REQUESTS[kind]), 504, "target_slow", SLOW)


def test_a_stream_that_falls_silent_ends_in_no_end(impatient: Running) -> None:
    impatient.upstream.answers(OK + CHUNKED + b"\r\n5\r\nhello\r\n")
    with impatient.client() as wire:
        wire.send(get())
        with pytest.raises(EOFError):
            wire.message()


def test_a_target_that_takes_no_connections(start: Start) -> None:
    """As where the network swallows them; the queue of a socket that nobody accepts from is full."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        gateway = start("impatient", url=f"http://127.0.0.1:{full.getsockname()[1]}")
        for kind, request in REQUESTS.items():
            check_error(kind, gateway.ask(request), 504, "target_slow", SLOW)
        assert "imeout" in (gateway.gateway._proxy.trouble or "")
        assert gateway.admin(b"/readyz").status == 503


def test_a_target_that_is_down_and_comes_up(start: Start, until: Until, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gateway = start(url=f"http://127.0.0.1:{port}")
    for kind, request in REQUESTS.items():
        check_error(kind, gateway.ask(request), 502, "target_down", DOWN)
    ready = gateway.admin(b"/readyz")
    assert (ready.status, ready.json["ready"]) == (503, False)
    assert f"target http://127.0.0.1:{port}: " in ready.json["troubles"][0]
    assert sum("target http" in record.getMessage() for record in caplog.records) == 1  # not one for each request
    with socket.create_server(("127.0.0.1", port)):
        assert until(lambda: gateway.admin(b"/readyz").status == 200)


def test_a_name_that_nobody_knows(start: Start) -> None:
    gateway = start(url="http://nowhere.invalid:80")
    check_error("predict", gateway.ask(post()), 502, "target_down", DOWN)
    assert "nowhere.invalid" in gateway.admin(b"/readyz").json["troubles"][0]


def test_a_connection_that_the_target_closed_is_not_asked(gateway: Running, upstream: Upstream,
                                                          until: Until) -> None:
    """As servers do with idle ones: the next request goes over a new one."""
    for _ in range(3):
        ended = upstream.ended
        upstream.answers(OK + LENGTH + b"\r\n" + ANSWER, closes=True)
        assert gateway.ask(post()).body == EDITED
        assert until(lambda before=ended: upstream.ended > before)


@pytest.mark.parametrize("kind", ["predict", "oip", "as it is"])
@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
def test_nobody_waits_for_an_answer_that_nobody_wants(gateway: Running, upstream: Upstream, until: Until,
                                                     kind: str, how: str) -> None:
    dialect = "oip" if kind == "oip" else "predict"
    name = f"requests_total disconnected {dialect} 4xx"
    before = gateway.counts().get(name, 0.0)
    ended = upstream.ended
    upstream.answers()
    with gateway.client() as wire:
        wire.send(REQUESTS[kind])
        assert until(lambda: upstream.asked)
        getattr(wire, how)()
        assert until(lambda: upstream.ended > ended, 2.0)
    assert until(lambda: gateway.counts().get(name) == before + 1)


@pytest.mark.parametrize("cut", [1, 60, -1])
def test_a_client_that_goes_away_in_its_request(gateway: Running, upstream: Upstream, until: Until,
                                                cut: int) -> None:
    for request in (post(), post(b"/feedback")):
        with gateway.client() as wire:
            wire.send(request[:cut])
        assert until(lambda: not gateway.gateway._public.server_state.connections)
        assert until(gateway.is_at_rest)
    assert upstream.asked == []


def test_a_client_that_goes_away_in_an_upload(gateway: Running, until: Until,
                                              caplog: pytest.LogCaptureFixture) -> None:
    """The target sees it at once, and isn't blamed."""
    ended = gateway.upstream.ended
    with gateway.client() as wire:
        wire.send(b"POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 5000000\r\n\r\n" + b"x" * 200_000)
        assert until(lambda: gateway.gateway._proxy.in_flight)
    assert until(gateway.is_at_rest)
    assert until(lambda: gateway.upstream.ended > ended)
    assert caplog.records == []


def test_a_client_that_goes_away_in_a_stream(gateway: Running, upstream: Upstream, until: Until) -> None:
    ended = upstream.ended

    def script(wire: Wire, asked: Message) -> None:
        wire.send(OK + CHUNKED + b"\r\n")
        while True:
            wire.send(b"5\r\nhello\r\n")
            until(lambda: False, 0.01)

    upstream.script = script
    with gateway.client() as wire:
        wire.send(REQUESTS["as it is"])
        assert wire.head().status == 200
        assert next(wire.chunks()) == b"hello"
    assert until(lambda: upstream.ended > ended, 2.0)


def test_a_client_that_goes_away_with_a_request_behind_the_first(gateway: Running, upstream: Upstream,
                                                                 until: Until) -> None:
    upstream.answers()
    ended = upstream.ended
    with gateway.client() as wire:
        wire.send(post() + post())
        assert until(lambda: upstream.asked)
    assert until(lambda: upstream.ended > ended, 2.0)
    assert until(gateway.is_at_rest)
    assert len(upstream.asked) == 1


SETTINGS = """
[target]
url = "{url}"
[guard]
limit_in_flight = 3
paths = ["/predict", "/v2/*"]
[[guard.policy]]
kind = "rounding"
decimals = 1
"""


def test_more_requests_than_the_guard_takes(start: Start, until: Until) -> None:
    gateway = start(SETTINGS)
    go = threading.Event()

    def script(wire: Wire, asked: Message) -> None:
        assert go.wait(10)
        wire.send(OK + LENGTH + b"\r\n" + ANSWER)

    gateway.upstream.script = script
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(gateway.client()) for _ in range(3)]
        for wire in wires:
            wire.send(post())
        assert until(lambda: len(gateway.upstream.asked) == 3)
        for kind in ("predict", "oip"):
            answer = gateway.ask(REQUESTS[kind])
            check_error(kind, answer, 503, "guard_full", "3 requests are under way, no more are taken; try again")
            assert answer.values(b"retry-after") == [b"1"]
        others = [stack.enter_context(gateway.client()) for _ in range(3)]
        for wire in others:  # what isn't guarded shares the pool of connections, and can't flood the target either
            wire.send(get())
        assert until(lambda: len(gateway.upstream.asked) == 6)
        answer = gateway.ask(get())
        message = "6 requests are under way, no more are taken; try again"
        check_error("untouched", answer, 503, "guard_full", message)
        assert answer.values(b"retry-after") == [b"1"]
        assert len(gateway.pool._acquired) == 6
        go.set()
        assert [wire.message().body for wire in wires + others] == [EDITED] * 3 + [ANSWER] * 3
    assert until(gateway.is_at_rest)
    assert gateway.counts()["inflight_requests"] == 0

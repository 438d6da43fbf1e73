"""What model servers answer, and what of it goes on."""

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
    BROKEN,
    CHUNKED,
    CHUNKS,
    EDITED,
    LENGTH,
    OK,
    REQUESTS,
    SWITCH,
    Until,
    check_error,
    get,
    post,
)

BROKEN_ANSWERS = {
    "nothing": ([], True),
    "no HTTP": ([b"hello\r\n\r\n"], True),
    "HTTP/0.9": ([ANSWER], True),
    "half a status": ([OK[:12]], True),
    "half a head": ([OK + LENGTH], True),
    "half a body": ([OK + LENGTH + b"\r\n" + ANSWER[:9]], True),
    "less than its length": ([OK + b"content-length: 500\r\n\r\n" + ANSWER], True),
    "more than its length": ([OK + b"content-length: 5\r\n\r\n" + ANSWER], False),
    "both lengths": ([OK + LENGTH + CHUNKED + b"\r\n" + CHUNKS], False),
    "both lengths, the other way round": ([OK + CHUNKED + LENGTH + b"\r\n" + CHUNKS], False),
    "two lengths": ([OK + LENGTH * 2 + b"\r\n" + ANSWER], False),
    "two lengths that differ": ([OK + LENGTH + b"content-length: 5\r\n\r\n" + ANSWER], False),
    "a list of lengths": ([OK + b"content-length: 56, 56\r\n\r\n" + ANSWER], False),
    "a negative length": ([OK + b"content-length: -5\r\n\r\n" + ANSWER], False),
    "a signed length": ([OK + b"content-length: +56\r\n\r\n" + ANSWER], False),
    "a length in letters": ([OK + b"content-length: many\r\n\r\n" + ANSWER], False),
    "no length in the header": ([OK + b"content-length:\r\n\r\n" + ANSWER], True),
    "another coding": ([OK + b"transfer-encoding: gzip\r\n\r\n" + ANSWER], True),
    "two codings": ([OK + b"transfer-encoding: gzip, chunked\r\n\r\n" + CHUNKS], False),
    "chunked in another word": ([OK + b"transfer-encoding: xchunked\r\n\r\n" + CHUNKS], True),
    "a null in a value": ([OK + b"x: a\0b\r\n" + LENGTH + b"\r\n" + ANSWER], False),
    "a carriage return in a value": ([OK + b"x: a\rset-cookie: b\r\n" + LENGTH + b"\r\n" + ANSWER], False),
    "a control character in a value": ([OK + b"x: \x01\r\n" + LENGTH + b"\r\n" + ANSWER], False),
    "a space in a name": ([OK + b"x y: a\r\n" + LENGTH + b"\r\n" + ANSWER], False),
    "a space before the colon": ([OK + b"x : a\r\n" + LENGTH + b"\r\n" + ANSWER], False),
    "status 99": ([OK.replace(b"200", b"099") + LENGTH + b"\r\n" + ANSWER], False),
    "status 600": ([OK.replace(b"200", b"600") + LENGTH + b"\r\n" + ANSWER], False),
    "status 20": ([OK.replace(b"200", b"20") + LENGTH + b"\r\n" + ANSWER], False),
    "another protocol": ([SWITCH], False),
    "another protocol and an answer": ([SWITCH + OK + LENGTH + b"\r\n" + ANSWER], False),
    "a body behind 204": ([b"HTTP/1.1 204 No Content\r\ncontent-length: 56\r\n\r\n" + ANSWER], False),
    "a body behind 304": ([b"HTTP/1.1 304 Not Modified\r\ncontent-length: 56\r\n\r\n" + ANSWER], False),
    "a long header": ([OK + LENGTH + b"x: " + b"a" * 70_000 + b"\r\n\r\n" + ANSWER], False),
    "a header without an end": ([OK + LENGTH + b"x: " + b"a" * 1_000_000], False),
    "headers without an end": ([OK + b"x: a\r\n" * 100_000], False),
}


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("name", BROKEN_ANSWERS)
def test_what_is_no_answer_is_told_in_the_dialects_shape(gateway: Running, upstream: Upstream, name: str,
                                                         kind: str) -> None:
    pieces, closes = BROKEN_ANSWERS[name]
    upstream.answers(*pieces, closes=closes)
    with gateway.client() as wire:
        wire.send(REQUESTS[kind])
        check_error(kind, wire.message(), 502, "target_down", BROKEN)
        upstream.answers(OK + LENGTH + b"\r\n" + ANSWER)
        wire.send(get())  # neither this connection nor any to the target is spoilt
        assert wire.message().body == ANSWER


CUT = {
    "half a chunk": [OK + CHUNKED + b"\r\n" + CHUNKS[:9]],
    "no last chunk": [OK + CHUNKED + b"\r\n" + CHUNKS[:-5]],
    "no chunk": [OK + CHUNKED + b"\r\nzz\r\n" + ANSWER],
    "half of a long body": [OK + b"content-length: 200000\r\n\r\n" + b" " * 100_000],
}


@pytest.mark.parametrize("kind", ["predict", "oip"])
@pytest.mark.parametrize("name", CUT)
def test_what_breaks_off_is_not_cleaned(gateway: Running, upstream: Upstream, name: str, kind: str) -> None:
    upstream.answers(*CUT[name], closes=True)
    check_error(kind, gateway.ask(REQUESTS[kind]), 502, "target_down", BROKEN)


@pytest.mark.parametrize("kind", ["untouched", "as it is"])
@pytest.mark.parametrize("name", CUT)
def test_what_breaks_off_ends_in_no_end(gateway: Running, upstream: Upstream, name: str, kind: str) -> None:
    """A client must not take it for the whole."""
    upstream.answers(*CUT[name], closes=True)
    with gateway.client() as wire:
        wire.send(REQUESTS[kind])
        try:
            answer = wire.message()
        except EOFError:
            return
    check_error(kind, answer, 502, "target_down", BROKEN)  # where it broke off before its head was read


def test_an_answer_that_breaks_off_has_cost_what_it_may_have_told(gateway: Running, upstream: Upstream) -> None:
    before = gateway.counts().get("requests_total failed predict 2xx", 0.0)
    upstream.answers(*CUT["half a chunk"], closes=True)
    with gateway.client() as wire:
        wire.send(REQUESTS["as it is"])
        with pytest.raises(EOFError):
            wire.message()
    assert gateway.counts()["requests_total failed predict 2xx"] == before + 1


def test_a_wrong_answer_never_reaches_the_next_request(gateway: Running, upstream: Upstream, until: Until) -> None:
    """Bytes that come when an answer has ended would be read as the answer to whoever asks next."""
    secret = OK + b"content-length: 6\r\n\r\nsecret"

    def script(wire: Wire, asked: Message) -> None:
        wire.send(OK + LENGTH + b"\r\n" + ANSWER)
        assert until(gateway.is_at_rest)  # the connection waits for the next request
        wire.send(secret)

    with gateway.client() as wire:
        upstream.script = script
        wire.send(get())
        assert wire.message().body == ANSWER
        assert until(lambda: any(protocol.should_close for idle in gateway.pool._conns.values()
                                 for protocol, _ in idle))
        upstream.answers(OK + LENGTH + b"\r\n" + ANSWER)
        wire.send(get())
        assert wire.message().body == ANSWER


def test_news_before_the_answer_is_for_us(gateway: Running, upstream: Upstream) -> None:
    for news in (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
                 b"HTTP/1.1 102 Processing\r\n\r\n" * 50):
        for pieces in ([news + OK + LENGTH + b"\r\n" + ANSWER], [news, OK + LENGTH + b"\r\n" + ANSWER]):
            upstream.answers(*pieces)
            assert gateway.ask(post()).body == EDITED
            assert gateway.ask(get()).body == ANSWER


ODD = {
    "bare line feeds": ((OK + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + ANSWER, False),
    "a folded header": (OK + b"x: a\r\n b\r\n" + LENGTH + b"\r\n" + ANSWER, False),
    "no reason": (OK.replace(b" OK", b"") + LENGTH + b"\r\n" + ANSWER, False),
    "chunks": (OK + CHUNKED + b"\r\n" + CHUNKS, False),
    "chunks and trailers": (OK + CHUNKED + b"\r\n" + CHUNKS[:-2] + b"x-a: b\r\n\r\n", False),
    "up to the end": (OK + b"\r\n" + ANSWER, True),
    "HTTP/1.0": (OK.replace(b"1.1", b"1.0") + b"\r\n" + ANSWER, True),
}


@pytest.mark.parametrize("name", ODD)
def test_an_answer_of_any_frame_is_read_and_passed_on(gateway: Running, upstream: Upstream, name: str) -> None:
    content, closes = ODD[name]
    upstream.answers(content, closes=closes)
    assert gateway.ask(post()).body == EDITED
    answer = gateway.ask(get())
    assert (answer.status, answer.body) == (200, ANSWER)
    assert not answer.values(b"x-a")


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize(("status", "headers"), [
    (b"204 No Content", b""), (b"204 No Content", b"content-length: 0\r\n"), (b"204 No Content", LENGTH),
    (b"304 Not Modified", b'etag: "a"\r\n'), (b"304 Not Modified", LENGTH + b'etag: "a"\r\n')])
def test_answers_without_a_body(gateway: Running, upstream: Upstream, kind: str, status: bytes,
                                headers: bytes) -> None:
    upstream.answers(b"HTTP/1.1 " + status + b"\r\n" + headers + b"\r\n")
    with gateway.client() as wire:
        for _ in range(2):
            wire.send(REQUESTS[kind])
            answer = wire.message()
            assert (answer.status, answer.body) == (int(status[:3]), b"")
            assert answer.values(b"etag") == ([b'"a"'] if b"etag" in headers else [])


@pytest.mark.parametrize("headers", [LENGTH, b"content-length: 1000000000\r\n", CHUNKED, b""],
                         ids=["short", "long", "chunked", "none"])
def test_an_answer_to_head_has_the_length_of_the_answer_to_get(gateway: Running, upstream: Upstream,
                                                              headers: bytes) -> None:
    upstream.answers(OK + headers + b"\r\n")
    with gateway.client() as wire:
        for _ in range(2):
            wire.send(get(method=b"HEAD"))
            answer = wire.message(has_body=False)
            assert answer.status == 200
            assert answer.values(b"content-length") == (
                [headers.split()[1]] if headers.startswith(b"content-length") else [])


def test_what_belongs_to_the_targets_connection_stays_there(gateway: Running, upstream: Upstream) -> None:
    upstream.answers(OK + LENGTH + b"connection: keep-alive, x-a\r\nx-a: 1\r\nkeep-alive: timeout=9\r\n"
                     b"proxy-authenticate: basic\r\ntrailer: x-b\r\nupgrade: h2c\r\nx-c: 3\r\nset-cookie: a=b\r\n"
                     b"set-cookie: c=d\r\nserver: s\r\ndate: now\r\n\r\n" + ANSWER)
    for request in (post(), get()):
        answer = gateway.ask(request)
        names = [name for name, _ in answer.headers if name not in (b"x-request-id", b"content-length")]
        assert names == [b"content-type", b"x-c", b"set-cookie", b"set-cookie", b"server", b"date"]


def test_headers_go_on_byte_for_byte(gateway: Running, upstream: Upstream) -> None:
    upstream.answers(OK + LENGTH + b"x-a: \xe9\xff\tb  c\r\n\r\n" + ANSWER)
    answer = gateway.ask(get(b"x-b: caf\xc3\xa9\tb  c\r\nx-b: \r\nX-Case: Kept\r\n"))
    assert answer.values(b"x-a") == [b"\xe9\xff\tb  c"]
    asked, = upstream.asked
    assert asked.values(b"x-b") == [b"caf\xc3\xa9\tb  c", b""]
    assert asked.values(b"x-case") == [b"Kept"]


@pytest.mark.parametrize("kind", ["predict", "untouched"])
def test_a_header_that_would_change_on_its_way_is_refused(gateway: Running, upstream: Upstream, kind: str) -> None:
    bad = REQUESTS[kind].replace(b"\r\n\r\n", b"\r\nx-a: \xe9\xff\r\n\r\n", 1)
    check_error(kind, gateway.ask(bad), 400, "invalid_request",
                "a header is neither ASCII nor UTF-8; send it in one of them")
    assert upstream.asked == []


@pytest.mark.parametrize(("answer", "message"), [
    (OK.replace(b"application/json", b"text/html") + LENGTH + b"\r\n" + ANSWER, "isn't in the request's format"),
    (OK + b"content-encoding: gzip\r\n" + LENGTH + b"\r\n" + ANSWER, "or it is compressed"),
    (OK + b"content-length: 400000\r\n\r\n" + b" " * 400_000, "the answer is over 300000 bytes"),
    (OK + CHUNKED + b"\r\nf4240\r\n" + b" " * 1_000_000 + b"\r\n0\r\n\r\n", "the answer is over 300000 bytes"),
    (OK + b"content-length: 6\r\n\r\n{\"a\": ", "the answer is no JSON"),
], ids=["HTML", "compressed", "huge", "huge in chunks", "no JSON"])
def test_an_answer_that_cannot_be_cleaned_is_blocked(gateway: Running, upstream: Upstream, answer: bytes,
                                                     message: str, caplog: pytest.LogCaptureFixture) -> None:
    upstream.answers(answer)
    for kind in ("predict", "oip"):
        got = gateway.ask(REQUESTS[kind])
        assert (got.status, message in got.json["error"]) == (502, True)
    for kind in ("untouched", "as it is"):
        assert gateway.ask(REQUESTS[kind]).status == 200
    assert {record.name for record in caplog.records} == {"counterclone.guard.outgoing"}  # the target did its part


def test_errors_of_the_target_pass_as_they_are(gateway: Running, upstream: Upstream) -> None:
    for status in (400, 401, 404, 422, 429, 500, 503, 511, 599):
        upstream.answers(b"HTTP/1.1 %d Whatever\r\ncontent-length: 4\r\n\r\noops" % status)
        for request in REQUESTS.values():
            answer = gateway.ask(request)
            assert (answer.status, answer.body) == (status, b"oops")


def test_redirects_into_the_target_are_redirects_into_the_gateway(start: Start) -> None:
    gateway = start(url="{url}/api/")
    url = gateway.upstream.url.encode()
    for location, seen in [
            (url + b"/api/x?y", b"/x?y"), (url + b"/api", b"/"), (b"/api/x", b"/x"), (b"/api", b"/"),
            (b"/apis/x", b"/apis/x"), (b"x/y", b"x/y"), (b"http://192.0.2.1/", b"http://192.0.2.1/"),
            (url + b"0/api/x", url + b"0/api/x")]:
        gateway.upstream.answers(b"HTTP/1.1 307 Moved\r\nlocation: " + location + b"\r\ncontent-length: 0\r\n\r\n")
        for request in (post(), get()):
            answer = gateway.ask(request)
            assert (answer.status, answer.values(b"location")) == (307, [seen])
    assert {asked.line for asked in gateway.upstream.asked} == {b"POST /api/predict HTTP/1.1",
                                                                b"GET /api/health HTTP/1.1"}


@pytest.mark.parametrize("kind", ["untouched", "as it is"])
def test_events_pass_as_they_come(gateway: Running, upstream: Upstream, kind: str) -> None:
    """Each is read at the other end before the next is sent."""
    events = [b"data: %d\n\n" % number for number in range(5)]
    turn = threading.Semaphore(0)

    def script(wire: Wire, asked: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n" + CHUNKED + b"\r\n")
        for event in events:
            assert turn.acquire(timeout=10)
            wire.send(b"%x\r\n" % len(event) + event + b"\r\n")
        assert turn.acquire(timeout=10)
        wire.send(b"0\r\n\r\n")

    upstream.script = script
    with gateway.client() as wire:
        wire.send(REQUESTS[kind])
        assert wire.head().values(b"content-type") == [b"text/event-stream"]
        turn.release()
        for number, chunk in enumerate(wire.chunks()):
            assert chunk == events[number]
            turn.release()
    assert number == 4


@pytest.mark.parametrize("size", [(1 << 16) - 1, 1 << 16, (1 << 16) + 1, 5_000_000])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_large_bodies_pass_whole_both_ways(gateway: Running, upstream: Upstream, size: int,
                                           is_chunked: bool) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    framed = (CHUNKED + b"\r\n%x\r\n" % size + content + b"\r\n0\r\n\r\n" if is_chunked
              else b"content-length: %d\r\n\r\n" % size + content)
    upstream.answers(b"HTTP/1.1 200 OK\r\n" + framed)
    answer = gateway.ask(b"POST /upload HTTP/1.1\r\nhost: a\r\n" + framed)
    assert answer.body == content
    assert upstream.asked[0].body == content


def test_a_target_that_answers_before_it_was_asked_to_the_end(start: Start, until: Until) -> None:
    """What it says goes on, and the rest of the request leads to nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gateway = start(url=f"http://127.0.0.1:{listener.getsockname()[1]}")

        def refuse() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with contextlib.closing(connection):
                        if connection.recv(1 << 16):  # the rest of them are the gateway's looks at the target
                            connection.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
                            while connection.recv(1 << 16):
                                pass

        thread = threading.Thread(target=refuse)
        thread.start()
        with gateway.client() as wire:
            wire.send(b"POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 3000000\r\n\r\n" + b"x" * 200_000)
            answer = wire.message()
            assert (answer.status, answer.body) == (413, b"no")
        assert until(lambda: not gateway.gateway._public.server_state.connections)
        assert until(gateway.is_at_rest)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()

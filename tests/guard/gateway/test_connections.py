from __future__ import annotations

import contextlib
import gzip
import socket
import struct
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import brotli
import pytest

from counterclone.guard import gateway as gateway_module
from counterclone.guard.connections import HEAD_BYTES, PIPELINED, URL_BYTES

if TYPE_CHECKING:
    from tests.guard.gateway.conftest import Message, Running, Start, Upstream, Wire

Until = Callable[..., bool]

QUERY = b'{"instances": [[1.0, 2.0, 3.0]]}'
LINE = b"POST /predict HTTP/1.1\r\n"
HOST = b"host: gateway\r\n"
KIND = b"content-type: application/json\r\n"
LENGTH = b"content-length: %d\r\n" % len(QUERY)
CHUNKED = b"transfer-encoding: chunked\r\n"
CHUNKS = b"8\r\n" + QUERY[:8] + b"\r\n%x\r\n" % len(QUERY[8:]) + QUERY[8:] + b"\r\n0\r\n\r\n"
HEAD = LINE + HOST + KIND
GET = b"GET /health HTTP/1.1\r\nhost: gateway\r\n"
EDITED = {"predictions": [[0.6, 0.3, 0.1]], "model": "m"}


def end(wire: Wire) -> bytes:
    """What follows the answer: nothing, and the end of the connection."""
    return wire.rest()


# What is refused at the door

REFUSED = {
    "both lengths": (HEAD + LENGTH + CHUNKED + b"\r\n" + CHUNKS, 400),
    "both lengths, the other way round": (HEAD + CHUNKED + LENGTH + b"\r\n" + CHUNKS, 400),
    "two lengths": (HEAD + LENGTH * 2 + b"\r\n" + QUERY, 400),
    "two lengths that differ": (HEAD + LENGTH + b"content-length: 5\r\n\r\n" + QUERY, 400),
    "a list of lengths": (HEAD + b"content-length: 32, 32\r\n\r\n" + QUERY, 400),
    "a signed length": (HEAD + b"content-length: +32\r\n\r\n" + QUERY, 400),
    "a negative length": (HEAD + b"content-length: -1\r\n\r\n" + QUERY, 400),
    "a length in hexadecimal": (HEAD + b"content-length: 0x20\r\n\r\n" + QUERY, 400),
    "a length with an underscore": (HEAD + b"content-length: 3_2\r\n\r\n" + QUERY, 400),
    "a length that overflows": (HEAD + b"content-length: 18446744073709551648\r\n\r\n" + QUERY, 400),
    "no length in the header": (HEAD + b"content-length:\r\n\r\n" + QUERY, 400),
    "chunked, identity": (HEAD + b"transfer-encoding: chunked, identity\r\n\r\n" + CHUNKS, 400),
    "identity, chunked": (HEAD + b"transfer-encoding: identity, chunked\r\n\r\n" + CHUNKS, 400),
    "gzip, chunked": (HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n" + CHUNKS, 400),
    "identity": (HEAD + b"transfer-encoding: identity\r\n\r\n" + QUERY, 400),
    "xchunked": (HEAD + b"transfer-encoding: xchunked\r\n\r\n" + CHUNKS, 400),
    "chunked in quotes": (HEAD + b'transfer-encoding: "chunked"\r\n\r\n' + CHUNKS, 400),
    "chunked after a vertical tab": (HEAD + b"transfer-encoding: \x0bchunked\r\n\r\n" + CHUNKS, 400),
    "chunked twice": (HEAD + CHUNKED * 2 + b"\r\n" + CHUNKS, 400),
    "chunked on a line of its own": (HEAD + b"transfer-encoding:\r\n chunked\r\n\r\n" + CHUNKS, 400),
    "chunked behind a line feed": (HEAD + b"x: a\ntransfer-encoding: chunked\r\n\r\n" + CHUNKS, 400),
    "chunked behind a carriage return": (HEAD + b"x: a\rtransfer-encoding: chunked\r\n\r\n" + CHUNKS, 400),
    "chunked with a space before the colon": (HEAD + b"transfer-encoding : chunked\r\n\r\n" + CHUNKS, 400),
    "chunked in HTTP/1.0": (HEAD.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + CHUNKS, 400),
    "no coding in the header": (HEAD + b"transfer-encoding:\r\n\r\n" + CHUNKS, 400),
    "a folded header": (HEAD + b"x: a\r\n b\r\n" + LENGTH + b"\r\n" + QUERY, 400),
    "bare line feeds": ((HEAD + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + QUERY, 400),
    "a null in a value": (HEAD + b"x: a\0b\r\n" + LENGTH + b"\r\n" + QUERY, 400),
    "a null in a name": (HEAD + b"x\0: a\r\n" + LENGTH + b"\r\n" + QUERY, 400),
    "a control character in a value": (HEAD + b"x: \x01\r\n" + LENGTH + b"\r\n" + QUERY, 400),
    "a space in a name": (HEAD + b"x y: a\r\n" + LENGTH + b"\r\n" + QUERY, 400),
    "a space before the colon": (HEAD + b"x : a\r\n" + LENGTH + b"\r\n" + QUERY, 400),
    "a space before the first header": (LINE + b" " + HOST + KIND + LENGTH + b"\r\n" + QUERY, 400),
    "no name": (HEAD + b": a\r\n" + LENGTH + b"\r\n" + QUERY, 400),
    "no host": (LINE + KIND + LENGTH + b"\r\n" + QUERY, 400),
    "two hosts": (HEAD + b"host: other\r\n" + LENGTH + b"\r\n" + QUERY, 400),
    "two keys": (HEAD + b"authorization: Bearer a\r\nauthorization: Bearer b\r\n" + LENGTH + b"\r\n" + QUERY, 400),
    "two types": (HEAD + b"content-type: text/plain\r\n" + LENGTH + b"\r\n" + QUERY, 400),
    "a user in the place of the path": (HEAD.replace(b"/predict", b"@192.0.2.1/") + LENGTH + b"\r\n" + QUERY, 400),
    "an address without a path": (HEAD.replace(b"/predict", b"http://192.0.2.1") + LENGTH + b"\r\n" + QUERY, 400),
    "a scheme of no use": (HEAD.replace(b"/predict", b"ftp://a/predict") + LENGTH + b"\r\n" + QUERY, 400),
    "the whole server": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a tunnel": (b"CONNECT 192.0.2.1:80 HTTP/1.1\r\n" + HOST + b"\r\n" + GET + b"\r\n", 400),
    "an unknown method": (HEAD.replace(b"POST", b"FROB") + LENGTH + b"\r\n" + QUERY, 400),
    "a method in lower case": (HEAD.replace(b"POST", b"post") + LENGTH + b"\r\n" + QUERY, 400),
    "letters beyond ASCII in the path": (HEAD.replace(b"/predict", b"/\xc3\xa9") + LENGTH + b"\r\n" + QUERY, 400),
    "HTTP/0.9": (b"GET /predict\r\n\r\n", 505),
    "HTTP/1.2": (HEAD.replace(b"1.1", b"1.2") + LENGTH + b"\r\n" + QUERY, 400),
    "HTTP/2.0": (HEAD.replace(b"1.1", b"2.0") + LENGTH + b"\r\n" + QUERY, 505),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (bytes.fromhex("16030100a5010000a10303") + bytes(160), 400),
    "a long path": (HEAD.replace(b"/predict", b"/" + b"a" * URL_BYTES) + LENGTH + b"\r\n" + QUERY, 414),
    "a long header": (HEAD + b"x: " + b"a" * HEAD_BYTES + b"\r\n" + LENGTH + b"\r\n" + QUERY, 431),
    "many headers": (HEAD + b"x: a\r\n" * (HEAD_BYTES // 6) + LENGTH + b"\r\n" + QUERY, 431),
    "a header without an end": (HEAD + b"x: " + b"a" * 4 * HEAD_BYTES, 431),
    "headers without an end": (HEAD + b"x: a\r\n" * HEAD_BYTES, 431),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_read_in_two_ways_goes_no_further(gateway: Running, upstream: Upstream, name: str) -> None:
    sent, status = REFUSED[name]
    with gateway.client() as wire:
        with contextlib.suppress(ConnectionError):  # it may close before it has all of it
            wire.send(sent)
        answer = wire.message()
        assert answer.status == status
        assert answer.values(b"content-type") == [b"application/json"]
        assert set(answer.json) == {"error", "code"}
        assert answer.values(b"connection") == [b"close"]
        wire.send(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        assert end(wire) == b""
    assert upstream.asked == []
    assert gateway.ask(GET + b"\r\n").status == 200


def test_what_is_refused_says_why(gateway: Running) -> None:
    assert gateway.ask(HEAD + LENGTH * 2 + b"\r\n" + QUERY).json == {
        "error": "this isn't HTTP as RFC 9112 has it: Duplicate Content-Length; correct the request",
        "code": "invalid_request"}
    assert gateway.ask(HEAD.replace(b"1.1", b"2.0") + b"\r\n").json["error"] == (
        "HTTP/2.0 isn't spoken here; use HTTP/1.1")


# What is read in one way only

READ = {
    "a length": HEAD + LENGTH + b"\r\n" + QUERY,
    "empty lines before": b"\r\n\r\n" + HEAD + LENGTH + b"\r\n" + QUERY,
    "chunks": HEAD + CHUNKED + b"\r\n" + CHUNKS,
    "chunks in capitals": HEAD + b"Transfer-Encoding: CHUNKED\r\n\r\n" + CHUNKS,
    "chunks with extensions": HEAD + CHUNKED + b"\r\n" + CHUNKS.replace(b"8\r\n", b'8;a=b;c="d"\r\n', 1),
    "trailers": (HEAD + CHUNKED + b"trailer: x-a\r\n\r\n" + CHUNKS[:-2]
                 + b"x-a: b\r\nauthorization: Bearer b\r\nhost: b\r\ncontent-encoding: gzip\r\n\r\n"),
    "HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + LENGTH + b"\r\n" + QUERY,
    "HTTP/1.0 without a host": LINE.replace(b"1.1", b"1.0") + KIND + LENGTH + b"\r\n" + QUERY,
    "HTTP/1.0 that stays": HEAD.replace(b"1.1", b"1.0") + LENGTH + b"connection: keep-alive\r\n\r\n" + QUERY,
    "an address": HEAD.replace(b"/predict", b"http://192.0.2.1:81/predict") + LENGTH + b"\r\n" + QUERY,
    "an address with a user": HEAD.replace(b"/predict", b"http://a@192.0.2.1/predict") + LENGTH + b"\r\n" + QUERY,
    "hop by hop": HEAD + LENGTH + (
        b"connection: close, te, X-A\r\nconnection: x-b, content-length\r\nx-a: 1\r\nx-b: 2\r\nkeep-alive: 5\r\n"
        b"te: trailers\r\nproxy-authorization: basic a\r\nproxy-connection: close\r\n\r\n") + QUERY,
    "a websocket": HEAD + LENGTH + b"connection: upgrade\r\nUpgrade: websocket\r\n\r\n" + QUERY,
    "HTTP/2 if you have it": HEAD + LENGTH + (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
        b"\r\n") + QUERY,
    "forwarded": HEAD + LENGTH + (
        b"forwarded: for=192.0.2.9\r\nx-forwarded-for: 192.0.2.9\r\nx-forwarded-host: a\r\n"
        b"x-forwarded-proto: https\r\nx-real-ip: 192.0.2.9\r\nx-original-url: /admin\r\nx-rewrite-url: /admin\r\n"
        b"x-http-method-override: GET\r\n\r\n") + QUERY,
}


def check_read(gateway: Running, answer: Message) -> None:
    """One answer for one request, that is all that the guard has read of it."""
    asked, = gateway.upstream.asked
    assert (answer.status, answer.json) == (200, EDITED)
    assert (asked.line, asked.body) == (b"POST /predict HTTP/1.1", QUERY)
    assert {name for name, _ in asked.headers} <= {
        b"host", b"content-type", b"content-length", b"accept-encoding", b"x-request-id", b"x-forwarded-for",
        b"x-forwarded-proto", b"x-forwarded-host"}
    assert asked.values(b"content-length") == [b"%d" % len(QUERY)]
    assert asked.values(b"accept-encoding") == [b"identity"]
    assert asked.values(b"x-forwarded-for") == [b"127.0.0.1"]
    assert asked.values(b"x-forwarded-proto") == [b"http"]


@pytest.mark.parametrize("name", READ)
def test_what_can_be_read_in_one_way_is_one_request(gateway: Running, name: str) -> None:
    check_read(gateway, gateway.ask(READ[name]))


@pytest.mark.parametrize("name", ["a length", "chunks", "trailers", "hop by hop"])
@pytest.mark.parametrize("step", [1, 7])
def test_it_does_not_matter_how_a_request_is_cut(gateway: Running, name: str, step: int) -> None:
    sent = READ[name]
    check_read(gateway, gateway.ask(*(sent[start:start + step] for start in range(0, len(sent), step))))


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c"])
def test_no_bytes_of_a_request_for_another_protocol_become_a_request(gateway: Running, upstream: Upstream,
                                                                     upgrade: bytes) -> None:
    """The parser takes what follows for that protocol, wherever the segments end."""
    inner = HEAD + LENGTH + b"\r\n" + QUERY
    switch = b"connection: upgrade\r\nupgrade: " + upgrade + b"\r\n"
    head = HEAD + b"content-length: %d\r\n" % len(inner) + switch + b"\r\n"
    for cut in range(len(head) - len(switch), len(head) + 4):
        with gateway.client() as wire:
            wire.send(head[:cut], head[cut:], inner)
            assert wire.message().status == 400  # the inner request is no query, or the switch is refused
        assert upstream.asked == []


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c"])
def test_nothing_is_read_behind_a_switch_to_another_protocol(gateway: Running, upstream: Upstream,
                                                             upgrade: bytes) -> None:
    """If the switch isn't seen in time to leave it out."""
    switch = b"connection: upgrade\r\nupgrade: " + upgrade + b"\r\n\r\n"
    for cut in range(len(switch)):
        upstream.asked.clear()
        with gateway.client() as wire:
            wire.send(GET + switch[:cut], switch[cut:] + HEAD + LENGTH + b"\r\n" + QUERY)
            answers = [wire.message()]
            if not answers[0].values(b"connection"):
                answers.append(wire.message())
            else:
                assert wire.rest() == b""
        assert [each.status for each in answers] == [200] * len(answers)
        assert [each.line for each in upstream.asked] == [b"GET /health HTTP/1.1", LINE[:-2]][:len(answers)]


def test_a_header_that_the_guard_reads_is_not_kept_from_the_target(gateway: Running, upstream: Upstream) -> None:
    """`connection` ends headers here; those that are read must be those that go on."""
    named = b"connection: content-encoding, content-type\r\ncontent-encoding: gzip\r\n"
    answer = gateway.ask(HEAD + LENGTH + named + b"\r\n" + QUERY)
    assert answer.status == 200  # neither the guard nor the target takes it for compressed
    assert upstream.asked[0].values(b"content-encoding") == upstream.asked[0].values(b"content-type") == []


def test_what_is_not_guarded_goes_on_as_it_came(gateway: Running, upstream: Upstream) -> None:
    """Whatever its frame: in chunks, whole, without a body."""
    line = b"POST /feedback?a=%20b&c HTTP/1.1\r\n" + HOST
    with gateway.client() as wire:
        for sent, body in [(line + LENGTH + b"\r\n" + QUERY, QUERY), (line + CHUNKED + b"\r\n" + CHUNKS, QUERY),
                           (line + b"content-length: 0\r\n\r\n", b""), (line + b"\r\n", b""),
                           (line + LENGTH + b"connection: content-length\r\n\r\n" + QUERY, QUERY)]:
            wire.send(sent)
            assert wire.message().status == 200
            assert upstream.asked[-1].body == body
            assert upstream.asked[-1].line == b"POST /feedback?a=%20b&c HTTP/1.1"
        wire.send(line + CHUNKED + b"\r\n", CHUNKS[:20])
        wire.send(CHUNKS[20:])
        assert wire.message().status == 200
    assert upstream.asked[-1].body == QUERY
    assert len(upstream.asked) == 6


@pytest.mark.parametrize("path", [
    b"/%2fpredict%2F..", b"/%zz%", b"/%00%0d%0a", b"//192.0.2.1/predict", b"/a/../b/./c", b"/a/%2e%2e/b", b"/a\\b",
    b"/a;b=c", b"/?a?b=[]|%zz&d=\"<>`{}", b"/a+b%2Bc", b"/predict?x#y",
])
def test_a_path_reaches_the_target_byte_for_byte(gateway: Running, upstream: Upstream, path: bytes) -> None:
    assert gateway.ask(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n").status == 200
    assert upstream.asked[0].line == b"GET " + path.partition(b"#")[0] + b" HTTP/1.1"


# Several requests on a connection

def test_requests_in_one_segment_are_answered_in_order(gateway: Running, upstream: Upstream) -> None:
    with gateway.client() as wire:
        wire.send((HEAD + LENGTH + b"\r\n" + QUERY) * 2 + GET + b"\r\n" + HEAD + CHUNKED + b"\r\n" + CHUNKS)
        assert [wire.message().json == EDITED for _ in range(4)] == [True, True, False, True]
    assert [asked.line[:4] for asked in upstream.asked] == [b"POST", b"POST", b"GET ", b"POST"]


def test_a_bad_request_behind_a_good_one_does_not_overtake_it(gateway: Running, upstream: Upstream) -> None:
    with gateway.client() as wire:
        wire.send(HEAD + LENGTH + b"\r\n" + QUERY + b"nonsense\r\n\r\n")
        assert wire.message().json == EDITED
        assert end(wire) == b""
    assert len(upstream.asked) == 1


def test_few_requests_wait_on_one_connection(gateway: Running, upstream: Upstream) -> None:
    with gateway.client() as wire:
        wire.send((GET + b"\r\n") * 1000)
        answered = 0
        with contextlib.suppress(EOFError):
            while wire.message().status == 200:
                answered += 1
    assert 1 <= answered <= PIPELINED + 2
    assert len(upstream.asked) == answered


def test_a_large_body_may_end_where_the_next_head_begins(gateway: Running) -> None:
    """Its bytes aren't the head's."""
    body = b'{"instances": [[1.0]], "pad": "' + b"a" * 2_000_000 + b'"}'
    large = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
    with gateway.client() as wire:
        for cut in (20, len(GET), len(GET) + 1):
            wire.send(large + GET[:cut])
            assert wire.message().status == 200
            wire.send(GET[cut:] + b"\r\n")
            assert wire.message().status == 200


# Bodies

BAD_CHUNKS = {
    "a wrong size": b"5\r\n" + QUERY + b"\r\n0\r\n\r\n",
    "a size with 0x": b"0x20\r\n" + QUERY + b"\r\n0\r\n\r\n",
    "a size that overflows": b"fffffffffffffffff\r\n" + QUERY + b"\r\n0\r\n\r\n",
    "a negative size": b"-1\r\n" + QUERY + b"\r\n0\r\n\r\n",
    "a size without a carriage return": b"20\n" + QUERY + b"\r\n0\r\n\r\n",
    "a space before the size": b" 20\r\n" + QUERY + b"\r\n0\r\n\r\n",
    "no size": b"\r\n" + QUERY + b"\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
@pytest.mark.parametrize("is_apart", [False, True])
def test_chunks_that_are_none(gateway: Running, upstream: Upstream, name: str, is_apart: bool) -> None:
    head, chunks = HEAD + CHUNKED + b"expect: 100-continue\r\n\r\n", BAD_CHUNKS[name]
    with gateway.client() as wire:
        if is_apart:  # the guard reads the body already
            wire.send(head)
            assert wire.head().status == 100
            wire.send(chunks)
        else:
            wire.send(head + chunks)
        answer = wire.message()
        assert (answer.status, answer.json["code"]) == (400, "invalid_request")
        assert end(wire) == b""
    assert upstream.asked == []


def test_the_expectation_is_met_before_the_body_comes(gateway: Running, upstream: Upstream) -> None:
    with gateway.client() as wire:
        wire.send(HEAD + LENGTH + b"expect: 100-continue\r\n\r\n")
        assert wire.head().line == b"HTTP/1.1 100 Continue"
        assert upstream.asked == []
        wire.send(QUERY)
        assert wire.message().json == EDITED


def test_a_body_that_is_too_large_is_refused_while_it_comes(gateway: Running, upstream: Upstream) -> None:
    with gateway.client() as wire:
        wire.send(HEAD + b"content-length: 20000000\r\n\r\n")
        for _ in range(4):
            wire.send(b" " * 1_000_000)
        answer = wire.message()
        assert (answer.status, answer.json["code"]) == (413, "body_too_large")
        for _ in range(16):  # a client that reads only once it has sent all gets it too
            wire.send(b" " * 1_000_000)
        wire.send(GET + b"\r\n")
        assert wire.message().status == 200
    assert len(upstream.asked) == 1


COMPRESSED = {
    "gzip": (gzip.compress(QUERY), b"gzip", 200), "brotli": (brotli.compress(QUERY), b"br", 200),
    "zlib": (zlib.compress(QUERY), b"deflate", 200),
    "a gzip bomb": (gzip.compress(bytes(20_000_000)), b"gzip", 413),
    "a brotli bomb": (brotli.compress(bytes(20_000_000), quality=5), b"br", 413),
    "nested": (gzip.compress(gzip.compress(QUERY)), b"gzip, gzip", 400),
    "junk behind": (gzip.compress(QUERY) + QUERY, b"gzip", 400),
    "two members": (gzip.compress(QUERY) * 2, b"gzip", 400), "half": (gzip.compress(QUERY)[:-9], b"gzip", 400),
    "another word": (QUERY, b"zstd", 400), "not at all": (QUERY, b"gzip", 400),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_the_target_gets_what_the_guard_unpacked(gateway: Running, upstream: Upstream, name: str) -> None:
    body, encoding, status = COMPRESSED[name]
    head = HEAD + b"content-encoding: " + encoding + b"\r\ncontent-length: %d\r\n\r\n" % len(body)
    answer = gateway.ask(head + body)
    assert answer.status == status
    if status == 200:
        assert (upstream.asked[0].body, upstream.asked[0].values(b"content-encoding")) == (QUERY, [])
    else:
        assert (set(answer.json), upstream.asked) == ({"error", "code"}, [])


# Clients that are slow, or many

def keeps_silent(wire: Wire) -> None:
    """Says nothing at all."""


def begins(wire: Wire) -> None:
    wire.send(HEAD)


def begins_a_body(wire: Wire) -> None:
    wire.send(HEAD + LENGTH + b"\r\n" + QUERY[:5])


def begins_chunks(wire: Wire) -> None:
    wire.send(HEAD + CHUNKED + b"\r\n" + CHUNKS[:9])


def sends_empty_lines(wire: Wire) -> None:
    wire.send(GET + b"\r\n")
    assert wire.message().status == 200
    wire.send(b"\r\n")


def sends_on_when_refused(wire: Wire) -> None:
    wire.send(HEAD.replace(b"/predict", b"/v2/x") + b"content-length: 50000000\r\n\r\n" + b" " * 4_000_000)
    assert wire.message().status == 413


@pytest.mark.parametrize("behaviour", [keeps_silent, begins, begins_a_body, begins_chunks, sends_empty_lines,
                                       sends_on_when_refused], ids=lambda each: each.__name__)
def test_who_keeps_us_waiting_is_dropped(impatient: Running, behaviour: Callable[[Wire], None]) -> None:
    with impatient.client() as wire:
        behaviour(wire)
        assert wire.rest() == b""
    assert impatient.gateway._public.server_state.connections == set()


@pytest.mark.parametrize("size", [20_000_000, 200_000, 60_000, 40_000])
def test_who_does_not_read_is_dropped(start: Start, until: Until, size: int) -> None:
    """Also where so little is left that the server's loop doesn't pause for it, nor end."""
    gateway = start("impatient")
    gateway.upstream.answers(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
    gateway.public.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # connections inherit it
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", gateway.port))
        connection.sendall(GET + b"\r\n")
        assert until(lambda: gateway.upstream.asked)
        assert until(lambda: not gateway.gateway._public.server_state.connections)


def test_who_reads_too_slowly_is_dropped(start: Start, until: Until) -> None:
    gateway = start("impatient")
    gateway.upstream.answers(b"HTTP/1.1 200 OK\r\ncontent-length: 20000000\r\n\r\n" + b"x" * 20_000_000)
    gateway.public.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    read = 0
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", gateway.port))
        connection.sendall(GET + b"\r\n")
        with contextlib.suppress(ConnectionError):
            while got := len(connection.recv(500)):
                read += got
                until(lambda: False, 0.02)
    assert 500 <= read < 200_000


def test_a_slow_reader_that_reads_is_not_dropped(impatient: Running, until: Until) -> None:
    impatient.upstream.answers(b"HTTP/1.1 200 OK\r\ncontent-length: 8000000\r\n\r\n" + b"x" * 8_000_000)
    with impatient.client() as wire:
        wire.send(GET + b"\r\n")
        assert wire.head().status == 200
        for _ in range(8):
            assert len(wire.take(1_000_000)) == 1_000_000
            until(lambda: False, 0.15)


def test_a_client_beyond_the_last_is_told_so(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_module, "room", lambda _: 2)
    gateway = start()
    with gateway.client() as first, gateway.client() as second:
        for wire in (first, second):
            wire.send(GET + b"\r\n")
            assert wire.message().status == 200
        with gateway.client() as third:
            answer = third.message()
            assert (answer.status, answer.json["code"]) == (503, "guard_full")
            assert answer.values(b"retry-after") == [b"1"]
            assert third.rest() == b""
        first.send(GET + b"\r\n")
        assert first.message().status == 200


def test_a_reset_leaves_nothing_behind(gateway: Running, until: Until) -> None:
    for cut in (0, 10, len(HEAD), len(HEAD + LENGTH) + 7):
        connection = socket.create_connection(("127.0.0.1", gateway.port))
        connection.sendall((HEAD + LENGTH + b"\r\n" + QUERY)[:cut])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert until(lambda: not gateway.gateway._public.server_state.connections)

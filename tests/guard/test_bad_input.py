from __future__ import annotations

import contextlib
import gzip
import json
import math
import os
import resource
import subprocess
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import brotli
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterclone.guard import asgi

if TYPE_CHECKING:
    from tests.guard.conftest import Build, Model

ANSWER = b'{"predictions": [[0.6251, 0.2499, 0.125]]}'
EDITED = b'{"predictions":[[0.6,0.3,0.1]]}'
QUERY = {"instances": [[1, 2, 3, 4]]}
ROUNDING = """
[[guard.policy]]
kind = "rounding"
decimals = 1
"""
PREDICT, INFER = "/predict", "/v2/models/m/infer"
SNAP = """
[[guard.rule]]
kind = "snap"
step = 1.0
"""
GOOD = {PREDICT: orjson.dumps(QUERY), INFER: orjson.dumps(
    {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]})}


# Requests

@pytest.mark.parametrize("path", [PREDICT, INFER])
@pytest.mark.parametrize("damage", [
    pytest.param(lambda body: body[:-1], id="truncated"),
    pytest.param(lambda body: body[:len(body) // 2], id="half"),
    pytest.param(lambda body: body.replace(b"1", b"\xff"), id="no UTF-8"),
    pytest.param(lambda body: b"\xff\xfe" + body.decode().encode("utf-16-le"), id="UTF-16"),
    pytest.param(lambda body: b"\xef\xbb\xbf" + body, id="byte order mark"),
    pytest.param(lambda body: body.replace(b"2", b"NaN"), id="nan"),
    pytest.param(lambda body: body.replace(b"2", b"Infinity"), id="infinity"),
    pytest.param(lambda body: body + body, id="twice"),
    pytest.param(lambda body: b"[" * 20_000 + b"]" * 20_000, id="nested lists"),
    pytest.param(lambda body: b'{"a":' * 20_000 + b"1" + b"}" * 20_000, id="nested objects"),
    pytest.param(lambda body: body[:-1] + b',"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}", id="nested in a field"),
    pytest.param(gzip.compress, id="compressed without a word"),
    pytest.param(lambda body: b"\x00" * 1000, id="zeros"),
    pytest.param(lambda body: b"", id="empty"),
])
def test_a_damaged_body_is_refused_and_reaches_no_model(guarded: Build, answering: Model, path: str,
                                                      damage: Callable[[bytes], bytes]) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen), ROUNDING)
    reply = guard.ask(damage(GOOD[path]), path=path)
    assert (reply.status, seen) == (400, [])
    assert len(reply.body) < 500


@pytest.mark.parametrize("encoding", [b"gzip, gzip", b"br", b"gzip, identity", b"x-unknown", b"zstd"])
def test_a_body_that_cannot_be_unpacked_is_refused(guarded: Build, answering: Model, encoding: bytes) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen), ROUNDING)
    reply = guard.ask(gzip.compress(GOOD[PREDICT]), headers=[(b"content-encoding", encoding)])
    assert (reply.status, reply.json["code"], seen) == (400, "unknown_format", [])


@pytest.mark.parametrize(("encoding", "pack"), [(b"gzip", gzip.compress), (b"br", brotli.compress),
                                                (b"GZIP", gzip.compress), (b"deflate", zlib.compress)])
@pytest.mark.parametrize("settings", [ROUNDING, ROUNDING + SNAP, "[guard]\nenforce = false\n"])
def test_a_compressed_body_is_unpacked_for_the_app_unless_in_shadow_mode(
        guarded: Build, answering: Model, encoding: bytes, pack: Callable[[bytes], bytes], settings: str) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    packed = pack(GOOD[PREDICT])
    reply = guarded(answering(ANSWER, seen=seen), settings).ask(packed, headers=[(b"content-encoding", encoding)])
    assert reply.status == 200
    (_, body), headers = seen[0], dict(seen[0][0]["headers"])
    if "false" in settings:
        assert (body, headers[b"content-encoding"]) == (packed, encoding)
    else:
        assert orjson.loads(body) == orjson.loads(GOOD[PREDICT])
        assert b"content-encoding" not in headers
    assert headers[b"content-length"] == b"%d" % len(body)


@pytest.mark.parametrize(("encoding", "pack"), [(b"gzip", gzip.compress), (b"br", brotli.compress)])
def test_a_bomb_is_refused_before_it_is_whole(guarded: Build, answering: Model, encoding: bytes,
                                              pack: Callable[[bytes], bytes]) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    bomb = pack(b" " * 300_000_000)
    guard = guarded(answering(ANSWER, seen=seen), ROUNDING)
    tracemalloc.start()
    reply = guard.ask(bomb, headers=[(b"content-encoding", encoding)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (reply.status, reply.json["code"], seen) == (413, "body_too_large", [])
    assert peak < 50_000_000


@pytest.mark.parametrize("length", [b"1", b"1000000000000", b"-1", b"x", b""])
def test_a_content_length_that_lies_misleads_nobody(guarded: Build, answering: Model, length: bytes) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    reply = guarded(answering(ANSWER, seen=seen), ROUNDING).ask(QUERY, headers=[(b"content-length", length)])
    assert reply.body == EDITED
    lengths = [value for name, value in seen[0][0]["headers"] if name == b"content-length"]
    assert lengths == [b"%d" % len(GOOD[PREDICT])]


def test_a_body_of_100_megabytes_is_refused_after_a_tenth_of_it(guarded: Build, answering: Model) -> None:
    n_received = 0

    async def receive() -> asgi.Message:
        nonlocal n_received
        n_received += 1
        return {"type": "http.request", "body": bytes(1 << 16), "more_body": n_received < 1600}

    guard = guarded(answering(ANSWER), ROUNDING)
    tracemalloc.start()
    try:
        reply = guard.ask(receive=receive)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (reply.status, n_received) == (413, 10_000_000 // (1 << 16) + 1)
    assert peak < 30_000_000


@pytest.mark.parametrize("size", [0, 2], ids=["empty", "two bytes"])
def test_a_body_that_drips_in_takes_no_more_memory_than_one_in_a_piece(guarded: Build, answering: Model,
                                                                     size: int) -> None:
    n_received = 0

    async def receive() -> asgi.Message:
        nonlocal n_received
        n_received += 1
        drop = n_received.to_bytes(8, "little")[:size]
        return {"type": "http.request", "body": drop, "more_body": n_received < 50_000}

    guard = guarded(answering(ANSWER), ROUNDING)
    tracemalloc.start()
    try:
        reply = guard.ask(receive=receive)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (reply.status, n_received) == (400, 50_000)
    assert peak < 600_000


@pytest.mark.parametrize("value", [
    b"Bearer", b"Bearer " + b"x" * 60_000, "Bearer käse".encode("latin-1"), b"Basic eA==", b"Bearer \x00",
    b"bearer   spaced  ",
], ids=["no key", "long", "latin", "basic", "zero", "spaces"])
def test_any_authorization_is_an_account_or_none(guarded: Build, answering: Model, value: bytes) -> None:
    guard = guarded(answering(ANSWER), ROUNDING)
    assert guard.ask(QUERY, key=None, headers=[(b"authorization", value)]).body == EDITED
    (row,) = guard.exchanges()
    assert len(row["account"]) == 16


@pytest.mark.parametrize("path", ["", "//", "/" + "a" * 100_000, "/ü/\ud800", "/v2/models//infer"], ids=range(5))
def test_any_path_is_answered(guarded: Build, answering: Model, path: str) -> None:
    guard = guarded(answering(ANSWER), ROUNDING)
    assert guard.ask(QUERY, path=path).body == EDITED
    assert guard.decisions() == ["served"]


def test_a_model_name_of_any_length_is_journalled(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), ROUNDING)
    for name in ("a" * 100_000, "\ud800", "käse"):
        assert guard.ask(QUERY, path=f"/v1/models/{name}:predict").body == EDITED
    assert [row["model"] for row in guard.exchanges()] == ["a" * 256, "?", "käse"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["data", "columns", "shape", "datatype", "name", "a"]), inner, max_size=4), max_leaves=12)
BODIES = st.binary(max_size=60) | st.dictionaries(
    st.sampled_from(["instances", "inputs", "dataframe_split", "dataframe_records", "outputs", "id"]), VALUES,
    max_size=2).map(lambda value: json.dumps(value).encode())
RULES = """
[[guard.rule]]
kind = "range"
low = -1e3
high = 1e3
mode = "clip"

[[guard.rule]]
kind = "snap"
step = 0.25
"""


def test_whatever_comes_in_and_out_is_answered(guarded: Build) -> None:
    answer = b""

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    guard = guarded(app, "guard.limit_queries_per_minute = 0\n" + RULES + ROUNDING)
    statuses: Counter[int] = Counter()

    @settings(max_examples=500)
    @given(BODIES, BODIES, st.sampled_from([PREDICT, INFER]))
    def check(body: bytes, given_answer: bytes, path: str) -> None:
        nonlocal answer
        answer = given_answer
        statuses[guard.ask(body, path=path).status] += 1

    check()
    assert {*statuses} == {200, 400, 502}
    assert guard.metrics()["events_dropped_total"] == 0
    assert len(guard.exchanges()) >= 500


# Answers

@pytest.mark.parametrize(("answer", "text"), [
    (b'{"scores": [[]]}', "no classes"), (b'{"scores": [[0.5, 0.4]]}', "sums to 0.9"),
    (b'{"scores": [[1.5, -0.5]]}', "negative"), (b'{"scores": [[1e308, 1e308]]}', "sums to inf"),
    (b'{"other": [[0.5, 0.5]]}', "no floating-point output 'scores'"),
])
def test_a_named_output_that_is_no_probabilities_says_why(guarded: Build, answering: Model, answer: bytes,
                                                        text: str) -> None:
    guard = guarded(answering(answer), 'target.scores = "scores"' + ROUNDING)
    reply = guard.ask(QUERY)
    assert reply.status == 502
    assert text in reply.json["error"]


# A full disk

Disk = tuple[Path, Callable[[], None], Callable[[], None]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Disk]:
    """A folder, what takes all room for files in it, and what makes room again.

    It is a small file system where mounting is allowed, else a limit on the size of files.
    """
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() == 0 and _succeeds("mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)):
        yield folder, lambda: _fill(folder / "filler"), (folder / "filler").unlink
        _succeeds("umount", "--lazy", str(folder))
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield folder, lambda: _limit_files(0, hard), lambda: _limit_files(soft, hard)
    _limit_files(soft, hard)


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.write_bytes(bytes(1 << 20))


def _limit_files(soft: int, hard: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def eventually(condition: Callable[[], bool], seconds: float = 8.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize(("policies", "bits"), [
    ('[[guard.policy]]\nkind = "rounding"\ndecimals = 1', math.log2(66)), ("", 128.0),
], ids=["policies", "none"])
def test_a_full_disk_never_stops_traffic(guarded: Build, answering: Model, small_disk: Disk, policies: str,
                                       bits: float) -> None:
    folder, fill, free = small_disk
    settings = f'journal.path = "{folder / "journal"}"\n' + policies
    guard = guarded(answering(ANSWER), settings)
    body = EDITED if policies else ANSWER
    fill()
    assert [guard.ask(QUERY).body for _ in range(20)] == [body] * 20
    assert eventually(lambda: bool(guard.guard.troubles()))
    assert guard.ask(QUERY).body == body
    (trouble,) = guard.guard.troubles()
    assert trouble.startswith("journal: OSError")
    ready = guard.admin("/readyz")
    assert (ready.status, ready.json) == (200, {"ready": True, "troubles": [trouble]})
    assert guard.metrics()["events_flushed_total"] == 0
    free()
    assert eventually(lambda: guard.metrics()["events_flushed_total"] == 21)
    assert eventually(lambda: guard.guard.troubles() == [])
    metrics = guard.metrics()
    assert metrics["events_dropped_total"] == 0
    assert metrics["leaked_bits_total"] == pytest.approx(21 * bits)  # though answers were encoded again and again

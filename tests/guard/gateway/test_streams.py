"""Streams of events through the gateway, over real connections."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import openai
import orjson
import pytest
from openai import OpenAI
from tests.guard.dialects.serving import served

from counterclone.testing.llm_server import LlmServer

if TYPE_CHECKING:
    from tests.guard.gateway.conftest import Message, Running, Wire

OPEN = """
[target]
url = "{url}"
dialect = "openai"
[guard]
limit_tokens_per_minute = 1000000
"""
ROUNDED = OPEN + """
[[guard.policy]]
kind = "logprobs"
decimals = 1
"""
HEAD = (b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
ASKED = orjson.dumps({"model": "toy", "stream": True, "messages": [{"role": "user", "content": "a"}]})
SAID: Any = [{"role": "user", "content": "a"}]
Start = Callable[..., "Running"]
Until = Callable[..., bool]


def post() -> bytes:
    return (b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer ann\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ASKED) + ASKED)


def event(text: str, logprob: float | None = None) -> bytes:
    listed = None if logprob is None else {"content": [{"token": text, "logprob": logprob, "top_logprobs": []}]}
    return b"data: " + orjson.dumps({"choices": [
        {"index": 0, "delta": {"content": text}, "logprobs": listed, "finish_reason": None}]}) + b"\n\n"


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


@pytest.mark.parametrize("settings", [OPEN, ROUNDED])
def test_an_event_arrives_before_the_next_one_is_sent(start: Start, settings: str) -> None:
    running, go = start(settings), threading.Event()

    def script(wire: Wire, asked: Message) -> None:
        wire.send(HEAD, chunked(event("a", -0.25)))
        for text in ("b", "c"):
            assert go.wait(10)
            go.clear()
            wire.send(chunked(event(text, -0.25)[:20]), chunked(event(text, -0.25)[20:]))
        wire.send(b"0\r\n\r\n")

    running.upstream.script = script
    with running.client() as wire:
        wire.send(post())
        assert b"text/event-stream" in dict(wire.head().headers)[b"content-type"]
        read = b""
        for piece in wire.chunks():
            read += piece
            if read.endswith(b"\n\n"):
                go.set()
    assert [orjson.loads(line[6:])["choices"][0]["delta"]["content"] for line in read.splitlines() if line] == [
        "a", "b", "c"]
    assert read.count(b"-0.25" if settings == OPEN else b"-0.2,") == 3


def test_a_client_that_goes_away_ends_the_request_to_the_server(start: Start, until: Until) -> None:
    running = start(ROUNDED)

    def script(wire: Wire, asked: Message) -> None:
        wire.send(HEAD, chunked(event("a")))
        wire.message()  # nothing more comes but the end

    running.upstream.script = script
    with running.client() as wire:
        wire.send(post())
        wire.head()
        assert next(wire.chunks())
    assert until(lambda: running.upstream.ended == 1)
    assert until(running.is_at_rest)


@pytest.mark.parametrize("settings", [OPEN, ROUNDED])
def test_a_server_that_breaks_off_is_an_error_in_the_clients_shape(start: Start, settings: str) -> None:
    running = start(settings)
    running.upstream.answers(HEAD, chunked(event("a", -0.25)), closes=True)
    client = OpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key="ann", max_retries=0)
    with client:
        stream: Any = client.chat.completions.create(model="toy", messages=SAID, stream=True)
        assert next(stream).choices[0].delta.content == "a"
        with pytest.raises(openai.APIError, match="the model server broke off"):
            next(stream)


def test_half_an_event_that_went_on_is_cut_off(start: Start) -> None:
    running = start(OPEN)
    running.upstream.answers(HEAD, chunked(event("a")[:30]), closes=True)
    with running.client() as wire:
        wire.send(post())
        wire.head()
        with pytest.raises(EOFError):
            list(wire.chunks())


def test_openais_client_through_the_gateway(start: Start) -> None:
    with served(LlmServer()) as url:
        running = start(ROUNDED.replace("{url}", url))
        client = OpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key="ann", max_retries=0)
        bare = OpenAI(base_url=f"{url}/v1", api_key="ann", max_retries=0)
        with client, bare:
            through, true = (list(each.chat.completions.create(model="toy", messages=SAID, stream=True))
                             for each in (client, bare))
            assert through == true
            assert client.models.list().data[0].id == "toy"

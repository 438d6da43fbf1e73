"""Streams of events through the guard: one by one, whatever the server sends."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from counterclone.guard import asgi
from counterclone.stores.memory import MemoryStore

if TYPE_CHECKING:
    from tests.guard.conftest import Build, Guarded, Model, Reply

CHAT = "/v1/chat/completions"
SAID = [{"role": "user", "content": "Where is the cat?"}]
ASKED: dict[str, Any] = {"model": "toy", "messages": SAID, "stream": True}
EVENTS = (b"content-type", b"text/event-stream")
OPEN = '[target]\ndialect = "openai"\n'
ROUNDED = OPEN + '[[guard.policy]]\nkind = "logprobs"\ntop = 1\ndecimals = 1\n'
STRIPPED = OPEN + '[[guard.policy]]\nkind = "reasoning"\nmode = "strip"\n'


def chunk(content: str | None = None, *, finish: str | None = None, logprob: float | None = None,
          index: int = 0, **delta: Any) -> bytes:
    said = delta if content is None else {"content": content, **delta}
    entry: dict[str, Any] = {"token": content, "logprob": logprob, "top_logprobs": []}
    listed = None if logprob is None else {"content": [entry]}
    return b"data: " + orjson.dumps({"object": "chat.completion.chunk", "choices": [
        {"index": index, "delta": said, "logprobs": listed, "finish_reason": finish}]}) + b"\n\n"


def bodies(reply: Reply) -> list[bytes]:
    return [each["body"] for each in reply.messages if each["type"] == "http.response.body" and each["body"]]


def texts(reply: Reply, index: int = 0) -> list[str | None]:
    """The pieces of an answer, as its client reads them."""
    return [choice["delta"].get("content") for line in reply.body.splitlines()
            if line.startswith(b"data: {") for choice in orjson.loads(line[6:]).get("choices", ())
            if choice["index"] == index]


DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize("settings", [OPEN, ROUNDED, STRIPPED])
def test_events_without_anything_to_edit_stay(guarded: Build, answering: Model, settings: str) -> None:
    sent = [b": hello\n\n", b"event: ping\ndata: {}\n\n", b"retry: 5\r\n\r\n", b"data:\n\n", b"event: x\n\n",
            chunk(role="assistant"), chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"a'}}]),
            b'data: {"choices": [], "x": 1.50}\n\n', chunk(finish="tool_calls"), DONE]
    reply = guarded(answering(*sent, headers=[EVENTS]), settings).ask(ASKED, path=CHAT)
    assert bodies(reply) == sent


def test_each_event_leaves_by_itself_and_when_it_is_whole(guarded: Build, answering: Model) -> None:
    events = [chunk("c", logprob=-0.123), chunk("\u00fc\U0001f408", logprob=-1.0), chunk(finish="stop"), DONE]
    whole = b"".join(events)
    for size in (1, 7, 50, len(whole)):
        pieces = [whole[i:i + size] for i in range(0, len(whole), size)]
        reply = guarded(answering(*pieces, headers=[EVENTS]), ROUNDED).ask(ASKED, path=CHAT)
        assert len(bodies(reply)) == len(events)
        assert texts(reply) == ["c", "\u00fc\U0001f408", None]
        assert [orjson.loads(body[6:])["choices"][0]["logprobs"]["content"][0]["logprob"]
                for body in bodies(reply)[:2]] == [-0.1, -1.0]


@pytest.mark.parametrize("end", [b"\r\n", b"\r", b"\n"])
def test_lines_end_as_they_came(guarded: Build, answering: Model, end: bytes) -> None:
    sent = (b": x\n" + chunk("c", logprob=-0.123)).replace(b"\n", end)
    reply = guarded(answering(sent, DONE, headers=[EVENTS]), ROUNDED).ask(ASKED, path=CHAT)
    first = bodies(reply)[0]
    assert first.startswith(b": x" + end + b"data: {")
    assert first.endswith(b"}" + end + end)
    assert b"-0.1," in first


def test_several_documents_in_one_event(guarded: Build, answering: Model) -> None:
    one, two = (chunk(text, logprob=-0.123)[6:-2] for text in "ab")
    for between in (b"", b"\ndata: "):
        event = b"data: " + one + between + two + b"\n\n"
        reply = guarded(answering(event, DONE, headers=[EVENTS]), ROUNDED).ask(ASKED, path=CHAT)
        assert len(bodies(reply)) == 2
        assert reply.body.count(b"-0.1,") == 2
        assert b"-0.123" not in reply.body


def test_a_stream_that_ends_without_its_end(guarded: Build, answering: Model) -> None:
    sent = [chunk("c", logprob=-0.123), chunk("d", logprob=-0.123)[:-2]]
    reply = guarded(answering(*sent, headers=[EVENTS]), ROUNDED).ask(ASKED, path=CHAT)
    assert texts(reply) == ["c", "d"]
    assert b"-0.123" not in reply.body
    assert not reply.messages[-1]["more_body"]


@pytest.mark.parametrize("broken", [
    b"data: {\n\n", b"data: hello\n\n", b'data: {"choices": 5, "choices": [{"logprobs": {"content": [{}]}}]}\n\n',
    b"data: \xff\n\n", b"data: [1]\n\n", b"data: [DONE]\ndata: {}\n\n", b"data: " + b"x" * 5000 + b"\n\n"])
def test_an_event_that_can_not_be_cleaned_ends_the_stream(guarded: Build, answering: Model, broken: bytes) -> None:
    sent = [chunk("c", logprob=-0.123), broken, chunk("d", logprob=-0.123), DONE]
    guard = guarded(answering(*sent, headers=[EVENTS]), "guard.limit_answer_bytes = 4000\n" + ROUNDED)
    reply = guard.ask(ASKED, path=CHAT)
    assert texts(reply) == ["c"]
    error = orjson.loads(bodies(reply)[-1].removeprefix(b"data: "))["error"]
    assert (error["type"], error["code"]) == ("server_error", "answer_not_cleaned")
    assert DONE not in reply.body
    assert not reply.messages[-1]["more_body"]
    assert guard.decisions() == ["failed"]


def test_an_anthropic_stream_breaks_off_in_its_own_way(guarded: Build, answering: Model) -> None:
    settings = '[target]\ndialect = "anthropic"\n[[guard.policy]]\nkind = "reasoning"\n'
    guard = guarded(answering(b"data: {\n\n", headers=[EVENTS]), settings)
    body = guard.ask({"messages": SAID}, path="/v1/messages").body
    assert body.startswith(b"event: error\ndata: ")
    assert orjson.loads(body.partition(b"data: ")[2])["error"]["type"] == "api_error"


@pytest.mark.parametrize("how", ['[guard]\non_error = "pass"\n', "[guard]\nenforce = false\n"])
def test_what_can_not_be_cleaned_may_pass(guarded: Build, answering: Model, how: str) -> None:
    sent = [chunk("c", logprob=-0.5), b"data: {\n\n", chunk("d", logprob=-0.123), DONE]
    policy = '[[guard.policy]]\nkind = "logprobs"\ntop = 1\ndecimals = 1\n'
    reply = guarded(answering(*sent, headers=[EVENTS]), OPEN + how + policy).ask(ASKED, path=CHAT)
    assert orjson.loads(bodies(reply)[0][6:])["choices"][0]["delta"] == {"content": "c"}
    assert b"".join(bodies(reply)[1:]) == b"".join(sent[1:])


def test_classifiers_have_no_streams(guarded: Build, answering: Model) -> None:
    settings = '[[guard.policy]]\nkind = "labels"\n'
    reply = guarded(answering(chunk("c"), headers=[EVENTS]), settings).ask({"instances": [[1.0]]})
    assert reply.status == 502


# Reasoning

@pytest.mark.parametrize(("pieces", "shown"), [
    (["<thi", "nk>a</th", "ink>b"], "b"), (["a</think>", "b"], "b"), (["<think>a"], ""), (["a", "b"], "ab"),
    (["<think>a</think>b</think>c"], "c"), (["<think>a<think>b</think>c</think> d"], "d"), (["x<think>a"], "x"),
    (["<think>", "\u00fc</thin", "k>\n\n", "\U0001f408"], "\U0001f408"), ([""], "")])
@pytest.mark.parametrize("ending", ["finish", "done", "nothing"])
def test_thoughts_are_kept_back(guarded: Build, answering: Model, pieces: list[str], shown: str,
                                ending: str) -> None:
    last = {"finish": [chunk(finish="stop"), DONE], "done": [DONE], "nothing": []}[ending]
    sent = [chunk(role="assistant", content=""), *map(chunk, pieces), *last]
    reply = guarded(answering(*sent, headers=[EVENTS]), STRIPPED).ask(ASKED, path=CHAT)
    assert "".join(each or "" for each in texts(reply)) == shown
    assert len(bodies(reply)) <= len(sent) + 1
    if last:
        assert bodies(reply)[-1] == DONE
    whole = {"choices": [{"index": 0, "message": {"content": "".join(pieces)}, "finish_reason": "stop"}]}
    answer = guarded(answering(orjson.dumps(whole)), STRIPPED).ask(ASKED, path=CHAT)
    assert answer.json["choices"][0]["message"]["content"] == shown


def test_an_end_with_text_and_two_answers_at_once(guarded: Build, answering: Model) -> None:
    sent = [chunk("<think>a"), chunk("one", index=1), chunk("</think>b", finish="stop"),
            chunk(" two", index=1), chunk(finish="stop", index=1), DONE]
    reply = guarded(answering(*sent, headers=[EVENTS]), STRIPPED).ask(ASKED, path=CHAT)
    assert texts(reply) == ["", "b"]
    assert texts(reply, 1) == ["", "", "one two", None]


def test_fields_of_reasoning_are_emptied_and_log_probabilities_with_them(guarded: Build, answering: Model) -> None:
    sent = [chunk(reasoning_content="secret"), chunk(reasoning="secret"), chunk("b", logprob=-0.5), DONE]
    reply = guarded(answering(*sent, headers=[EVENTS]), STRIPPED).ask(ASKED, path=CHAT)
    assert b"secret" not in reply.body
    assert b"logprob\"" not in reply.body


# Tokens

TOKENS = OPEN + "[guard]\nlimit_tokens_per_minute = 1000\n"


def left(guard: Guarded) -> float:
    """Tokens that the one account may still use."""
    store, limits = guard.guard._options.store, guard.guard._options.terms[""].limits
    assert isinstance(store, MemoryStore)
    arrivals, = store._arrivals.values()
    limit = next(limit for limit in limits if limit.unit == "tokens")
    return limit.amount - max(arrivals[limit.name] - time.monotonic(), 0.0) / limit.seconds_per_unit


@pytest.mark.parametrize("policy", ["", '[[guard.policy]]\nkind = "reasoning"\n'])
@pytest.mark.parametrize("stream", [True, False])
def test_what_the_server_counted_counts(guarded: Build, answering: Model, policy: str, stream: bool) -> None:
    usage = orjson.dumps({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 8}})
    events = [chunk("a"), b"data: " + usage + b"\n\n", DONE]
    app = answering(*events, headers=[EVENTS]) if stream else answering(usage)
    guard = guarded(app, TOKENS + policy)
    asked = ASKED | {"max_tokens": 900}
    assert guard.ask(asked, path=CHAT).status == 200
    assert left(guard) == pytest.approx(1000 - 13, abs=1)
    assert guard.ask(asked | {"n": 2}, path=CHAT).status == 429  # which is reserved whole


def test_a_stream_that_nobody_counted_is_estimated(guarded: Build, answering: Model) -> None:
    sent = [chunk("word " * 8) for _ in range(5)]
    guard = guarded(answering(*sent, headers=[EVENTS]), TOKENS + '[[guard.policy]]\nkind = "reasoning"\n')
    guard.ask(ASKED | {"max_tokens": 900}, path=CHAT)
    n_in = math.ceil(len(orjson.dumps(ASKED | {"max_tokens": 900})) / 4)
    assert left(guard) == pytest.approx(1000 - n_in - 50, abs=2)


def test_an_answer_that_is_broken_off_costs_what_was_streamed(guarded: Build) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [EVENTS]})
        for _ in range(5):
            await send({"type": "http.response.body", "body": chunk("word"), "more_body": True})
        raise ConnectionError

    guard = guarded(app, TOKENS)
    with pytest.raises(ConnectionError):
        guard.ask(ASKED | {"max_tokens": 900}, path=CHAT)
    assert 950 < left(guard) < 990
    assert guard.decisions() == ["failed"]


def test_who_leaves_out_the_length_is_taken_for_what_came_before(guarded: Build, answering: Model) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 600}}
    guard = guarded(answering(orjson.dumps(usage)), TOKENS)
    assert [guard.ask(ASKED, path=CHAT).status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("usage", [
    {"prompt_tokens": -5000, "completion_tokens": -5000}, {"prompt_tokens": "a"}, 7])
def test_counts_that_lie_give_nothing_back(guarded: Build, answering: Model, usage: object) -> None:
    guard = guarded(answering(orjson.dumps({"choices": [], "usage": usage})), TOKENS)
    guard.ask(ASKED, path=CHAT)
    assert 950 < left(guard) < 1000

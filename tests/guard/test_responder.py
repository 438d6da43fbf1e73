from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from counterclone.guard import asgi

if TYPE_CHECKING:
    from tests.guard.conftest import Build, Guarded, Model

QUERY = {"instances": [[1, 2, 3, 4]]}
ANSWER = b'{"predictions": [[0.6251, 0.2499, 0.125]], "model": "m"}'
ROUNDING = """
[[guard.policy]]
kind = "rounding"
decimals = 1
"""
EDITED = b'{"predictions":[[0.6,0.3,0.1]],"model":"m"}'
JSON = (b"content-type", b"application/json")


def test_a_policy_is_applied(guarded: Build, answering: Model) -> None:
    reply = guarded(answering(ANSWER), ROUNDING).ask(QUERY)
    assert (reply.status, reply.body) == (200, EDITED)


# What reaches the app

def test_the_app_gets_the_body_and_its_length(guarded: Build, answering: Model) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen), ROUNDING)
    guard.ask(b' {"instances":  [[1, 2, 3, 4]]} ', headers=[(b"transfer-encoding", b"chunked")])
    (scope, body), = seen
    assert body == b' {"instances":  [[1, 2, 3, 4]]} '
    headers = dict(scope["headers"])
    assert headers[b"content-length"] == b"%d" % len(body)
    assert b"transfer-encoding" not in headers


@pytest.mark.parametrize("chunks", [
    [b'{"instances"', b": [[1, 2,", b" 3, 4]]}"], [b"", b'{"instances": [[1, 2, 3, 4]]}'],
    [b'{"instances": [[1, 2, 3, 4]]}', b""], [bytes([byte]) for byte in b'{"instances": [[1, 2, 3, 4]]}'],
], ids=["pieces", "empty first", "empty last", "one byte each"])
def test_a_body_in_pieces_reaches_the_app_whole(guarded: Build, answering: Model, chunks: list[bytes]) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    reply = guarded(answering(ANSWER, seen=seen), ROUNDING).ask(chunks=chunks)
    assert reply.body == EDITED
    assert seen[0][1] == b'{"instances": [[1, 2, 3, 4]]}'


def test_the_app_is_asked_for_plain_answers_and_hears_everything_else(guarded: Build, answering: Model) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    traceparent = (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    others = [traceparent, (b"tracestate", b"a=1"), (b"cookie", b"a"), (b"cookie", b"b")]
    guard = guarded(answering(ANSWER, seen=seen), ROUNDING)
    guard.ask(QUERY, headers=[(b"accept-encoding", b"gzip, br"), *others])
    headers = seen[0][0]["headers"]
    assert [header for header in headers if header in others] == others
    assert [value for name, value in headers if name == b"accept-encoding"] == [b"identity"]
    assert [value for name, value in headers if name == b"authorization"] == [b"Bearer ann"]


def test_the_app_cannot_answer_past_the_guard(guarded: Build, answering: Model) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    extensions: dict[str, Any] = {"http.response.pathsend": {}, "http.response.zerocopysend": {}, "tls": {}}
    guarded(answering(ANSWER, seen=seen), ROUNDING).ask(QUERY, extensions=extensions)
    assert seen[0][0]["extensions"] == {"tls": {}}
    assert len(extensions) == 3  # the server's own stays as it was


def test_the_servers_scope_is_left_alone(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), ROUNDING)
    headers = [(b"accept-encoding", b"gzip"), JSON]
    state = {"shared": 1}
    guard.ask(QUERY, headers=headers, state=state)
    assert headers == [(b"accept-encoding", b"gzip"), JSON]
    assert state == {"shared": 1}


def test_after_the_body_the_app_hears_the_client_go(guarded: Build) -> None:
    heard: list[str] = []

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        heard.extend([(await receive())["type"], (await receive())["type"]])
        await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
        await send({"type": "http.response.body", "body": ANSWER})

    guarded(app, ROUNDING).ask(QUERY)
    assert heard == ["http.request", "http.disconnect"]


# Identifiers

@pytest.mark.parametrize("given", [b"a", b"order-1.2:3_4", b"x" * 128])
def test_a_request_id_is_accepted(guarded: Build, answering: Model, given: bytes) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    reply = guarded(answering(ANSWER, seen=seen), ROUNDING).ask(QUERY, headers=[(b"x-request-id", given)])
    assert reply.headers[b"x-request-id"] == given
    assert [value for name, value in seen[0][0]["headers"] if name == b"x-request-id"] == [given]


@pytest.mark.parametrize("given", [None, b"", b"x" * 129, b"a b", b"a\nb", "ä".encode(), b'"'])
def test_a_request_id_is_made_where_there_is_none_or_a_strange_one(guarded: Build, answering: Model,
                                                                 given: bytes | None) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen), ROUNDING)
    headers = [] if given is None else [(b"x-request-id", given)]
    made = [guard.ask(QUERY, headers=headers).headers[b"x-request-id"] for _ in range(2)]
    assert len({*made}) == 2
    assert all(re.fullmatch(rb"[0-9a-f]{20}", each) for each in made)
    assert [dict(scope["headers"])[b"x-request-id"] for scope, _ in seen] == made


def test_the_apps_own_request_id_is_kept(guarded: Build, answering: Model) -> None:
    reply = guarded(answering(ANSWER, headers=[JSON, (b"X-Request-ID", b"app")]), ROUNDING).ask(QUERY)
    start = reply.messages[0]["headers"]
    assert [value for name, value in start if name.lower() == b"x-request-id"] == [b"app"]


# What comes back

def test_an_edited_answer_has_its_own_length_and_no_stale_headers(guarded: Build, answering: Model) -> None:
    stale = [(b"Content-Length", b"%d" % len(ANSWER)), (b"ETag", b'"1"'), (b"content-md5", b"x"),
             (b"digest", b"x"), (b"content-digest", b"x"), (b"repr-digest", b"x"),
             (b"transfer-encoding", b"chunked")]
    kept = [JSON, (b"set-cookie", b"a"), (b"set-cookie", b"b"), (b"X-Model", b"m")]
    reply = guarded(answering(ANSWER, headers=[*kept, *stale]), ROUNDING).ask(QUERY)
    assert reply.body == EDITED
    *others, _, length = reply.messages[0]["headers"]
    assert others == kept
    assert length == (b"content-length", b"%d" % len(EDITED))


@pytest.mark.parametrize("settings", [ROUNDING, ""], ids=["policies", "none"])
@pytest.mark.parametrize("answer", [b' {"label" : "a"}', b'{"predictions": [1, 0]}'], ids=["label", "labels"])
def test_an_untouched_answer_passes_byte_for_byte(guarded: Build, answering: Model, settings: str,
                                                  answer: bytes) -> None:
    headers = [JSON, (b"Content-Length", b"%d" % len(answer)), (b"etag", b'"1"'), (b"set-cookie", b"a")]
    reply = guarded(answering(answer, headers=headers), settings).ask({"instances": [[1], [2]]})
    assert (reply.status, reply.body) == (200, answer)
    assert reply.messages[0]["headers"][:-1] == headers


@pytest.mark.parametrize("status", [201, 203])
def test_other_successes_are_cleaned_too(guarded: Build, answering: Model, status: int) -> None:
    reply = guarded(answering(ANSWER, status=status), ROUNDING).ask(QUERY)
    assert (reply.status, reply.body) == (status, EDITED)


@pytest.mark.parametrize("kind", [
    b"application/json; charset=utf-8", b"APPLICATION/JSON", b"application/vnd.acme+json",
])
def test_every_spelling_of_json_is_cleaned(guarded: Build, answering: Model, kind: bytes) -> None:
    headers = [(b"Content-Type", kind), (b"content-encoding", b"identity")]
    assert guarded(answering(ANSWER, headers=headers), ROUNDING).ask(QUERY).body == EDITED


@pytest.mark.parametrize("pieces", [
    [ANSWER[:10], ANSWER[10:]], [b"", ANSWER], [ANSWER, b""], [bytes([byte]) for byte in ANSWER],
], ids=["two", "empty first", "empty last", "one byte each"])
def test_an_answer_in_pieces_is_cleaned_whole(guarded: Build, answering: Model, pieces: list[bytes]) -> None:
    reply = guarded(answering(*pieces), ROUNDING).ask(QUERY)
    assert reply.body == EDITED
    assert [each["type"] for each in reply.messages] == ["http.response.start", "http.response.body"]


def test_an_answer_may_be_a_view_of_memory(guarded: Build) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": (header for header in [JSON])})
        await send({"type": "http.response.body", "body": memoryview(ANSWER)})

    assert guarded(app, ROUNDING).ask(QUERY).body == EDITED


@pytest.mark.parametrize(("status", "headers"), [(200, {}), (204, {"headers": []})])
def test_an_answer_may_leave_out_what_asgi_does_not_ask_for(guarded: Build, status: int,
                                                           headers: dict[str, Any]) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": status, **headers})
        await send({"type": "http.response.body"})

    reply = guarded(app).ask(QUERY)
    assert (reply.status, reply.body) == (status, b"")
    assert [*reply.headers] == [b"x-request-id"]


# Streams

EVENTS = [b"data: 0.6251\n\n", b"data: 0.2499\n\n", b"data: [DONE]\n\n"]


def streaming(pieces: list[bytes], log: list[str], kind: bytes = b"text/event-stream") -> asgi.App:
    """An app that notes when it sends each piece; `send` of the server notes when it comes."""

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        for number, piece in enumerate(pieces):
            log.append(f"app {number}")
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return app


async def events_of(guard: Guarded, log: list[str]) -> list[asgi.Message]:
    """Drives a stream and notes what comes out when."""
    sent: list[asgi.Message] = []

    async def receive() -> asgi.Message:
        return {"type": "http.request", "body": b'{"instances": [[1, 2, 3, 4]]}'}

    async def send(message: asgi.Message) -> None:
        sent.append(message)
        log.append(message["type"].rpartition(".")[2])

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [JSON], "client": None}
    await guard.guard(scope, receive, send)
    return sent


EACH_AS_IT_COMES = ["start", "app 0", "body", "app 1", "body", "app 2", "body", "body"]


@pytest.mark.parametrize(("settings", "decision"), [
    ("", "unscanned"), ("guard.unknown = 'pass'\n" + ROUNDING, "unscanned"),
    ("guard.on_error = 'pass'\n" + ROUNDING, "failed"), ("guard.enforce = false\n" + ROUNDING, "failed"),
], ids=["no policy", "unknown passes", "errors pass", "shadow"])
def test_a_stream_passes_event_by_event(guarded: Build, settings: str, decision: str) -> None:
    log: list[str] = []
    guard = guarded(streaming(EVENTS, log), settings)
    sent = asyncio.run(events_of(guard, log))
    assert log == EACH_AS_IT_COMES
    assert [each["body"] for each in sent[1:]] == [*EVENTS, b""]
    assert guard.decisions() == [decision]


@pytest.mark.parametrize("settings", ["", "guard.enforce = false\n" + ROUNDING], ids=["no policy", "shadow"])
def test_json_in_pieces_passes_as_it_comes_and_is_read_afterwards(guarded: Build, settings: str) -> None:
    log: list[str] = []
    guard = guarded(streaming([ANSWER[:9], ANSWER[9:40], ANSWER[40:]], log, b"application/json"), settings)
    sent = asyncio.run(events_of(guard, log))
    assert log == EACH_AS_IT_COMES
    assert b"".join(each["body"] for each in sent[1:]) == ANSWER
    (row,) = guard.exchanges()
    assert (row["decision"], row["label"], row["n_classes"], row["bits"]) == ("served", 0, 3, 128.0)


def test_a_stream_that_a_policy_would_have_to_clean_is_refused_at_once(guarded: Build) -> None:
    log: list[str] = []
    guard = guarded(streaming(EVENTS, log), ROUNDING)
    sent = asyncio.run(events_of(guard, log))
    assert log[:2] == ["start", "body"]  # before the app's first event, not after its last
    assert sent[0]["status"] == 502
    assert b"isn't in the request's format" in sent[1]["body"]
    assert len(sent) == 2
    (row,) = guard.exchanges()
    assert (row["decision"], row["status"]) == ("failed", 502)


@pytest.mark.parametrize("headers", [
    [(b"content-type", b"application/octet-stream")], [], [JSON, (b"content-encoding", b"gzip")],
    [(b"content-type", b"application/x-ndjson")], [(b"content-type", b"text/html")],
])
def test_an_answer_that_cannot_be_read_is_refused(guarded: Build, answering: Model,
                                                  headers: list[tuple[bytes, bytes]]) -> None:
    reply = guarded(answering(b"\x1f\x8b", headers=headers), ROUNDING).ask(QUERY)
    assert (reply.status, reply.json["code"]) == (502, "answer_not_cleaned")


# The app fails

@pytest.mark.parametrize("status", [307, 400, 404, 422, 500, 503])
@pytest.mark.parametrize("settings", [ROUNDING, ""], ids=["policies", "none"])
def test_the_apps_errors_pass_untouched(guarded: Build, answering: Model, settings: str, status: int) -> None:
    headers = [JSON, (b"retry-after", b"7"), (b"content-length", b"%d" % len(ANSWER))]
    guard = guarded(answering(ANSWER[:20], ANSWER[20:], status=status, headers=headers), settings)
    reply = guard.ask(QUERY)
    assert (reply.status, reply.body) == (status, ANSWER)
    assert reply.messages[0]["headers"][:-1] == headers
    assert guard.decisions() == ["failed"]


def test_an_app_that_raises_is_the_servers_business(guarded: Build) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        raise ZeroDivisionError("of the app")

    guard = guarded(app, ROUNDING)
    with pytest.raises(ZeroDivisionError, match="of the app"):
        guard.ask(QUERY)
    assert guard.metrics()["inflight_requests"] == 0
    (row,) = guard.exchanges()
    assert (row["decision"], row["status"], row["bits"]) == ("failed", 500, 0.0)


@pytest.mark.parametrize("n_messages", [0, 1, 2], ids=["nothing", "start", "half a body"])
def test_an_app_that_ends_early_has_sent_nothing(guarded: Build, n_messages: int) -> None:
    messages: list[asgi.Message] = [
        {"type": "http.response.start", "status": 200, "headers": [JSON]},
        {"type": "http.response.body", "body": ANSWER[:30], "more_body": True}]

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        for message in messages[:n_messages]:
            await send(message)

    guard = guarded(app, ROUNDING)
    assert guard.ask(QUERY).messages == []
    (row,) = guard.exchanges()
    assert (row["decision"], row["status"]) == ("failed", 500)


def test_an_app_that_raises_in_the_middle_of_a_passing_answer_has_used_the_query(guarded: Build) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
        await send({"type": "http.response.body", "body": ANSWER[:50], "more_body": True})
        raise ConnectionError("the model went away")

    guard = guarded(app, "guard.limit_queries_per_minute = 1")
    with pytest.raises(ConnectionError):
        guard.ask(QUERY)
    assert guard.ask(QUERY).status == 429


def test_what_an_app_does_after_its_answer_is_its_own(guarded: Build) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [JSON], "trailers": True})
        await send({"type": "http.response.body", "body": ANSWER})
        await send({"type": "http.response.trailers", "headers": []})
        raise RuntimeError("in the background")

    guard = guarded(app, ROUNDING)
    with pytest.raises(RuntimeError, match="in the background"):
        guard.ask(QUERY)
    assert guard.decisions() == ["served"]


def test_trailers_follow_an_edited_answer_and_no_refusal(guarded: Build) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.early_hint", "links": []})
        await send({"type": "http.response.start", "status": 200, "headers": [JSON], "trailers": True})
        await send({"type": "http.response.body", "body": ANSWER if scope["path"] == "/predict" else b"{"})
        await send({"type": "http.response.trailers", "headers": []})

    guard = guarded(app, ROUNDING)
    kinds = [each["type"].rpartition(".")[2] for each in guard.ask(QUERY).messages]
    assert kinds == ["early_hint", "start", "body", "trailers"]
    refused = guard.ask(QUERY, path="/broken")
    assert refused.status == 502
    assert [each["type"].rpartition(".")[2] for each in refused.messages] == ["early_hint", "start", "body"]


# The client goes away

@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_a_client_that_disconnects_while_sending_reaches_no_app(guarded: Build, answering: Model,
                                                              pieces: int) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen), ROUNDING)
    messages: list[asgi.Message] = [{"type": "http.disconnect"}]
    messages += [{"type": "http.request", "body": b"[", "more_body": True}] * pieces

    async def receive() -> asgi.Message:
        return messages.pop()

    assert guard.ask(receive=receive).messages == []
    assert seen == []
    metrics = guard.metrics()
    assert metrics["requests_total disconnected predict 4xx"] == 1
    assert metrics["inflight_requests"] == 0
    assert guard.exchanges() == []


def test_a_client_that_goes_while_its_answer_is_sent_has_had_it(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), ROUNDING)

    async def ask() -> None:
        async def receive() -> asgi.Message:
            return {"type": "http.request", "body": b'{"instances": [[1, 2, 3, 4]]}'}

        async def send(message: asgi.Message) -> None:
            raise OSError("the client went away")

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [JSON], "client": None}
        await guard.guard(scope, receive, send)

    with pytest.raises(OSError, match="went away"):
        asyncio.run(ask())
    assert guard.decisions() == ["served"]

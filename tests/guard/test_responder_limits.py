from __future__ import annotations

import asyncio
import gc
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import orjson
import pytest

from counterclone.answers import full_bits
from counterclone.guard import asgi
from counterclone.guard.keys import KeyRing
from counterclone.randomness import Prf

if TYPE_CHECKING:
    from tests.guard.conftest import Build, Guarded, Model, Reply

JSON = (b"content-type", b"application/json")
ANSWER = b'{"predictions": [[0.6251, 0.2499, 0.125]]}'
ROUNDING = """
[[guard.policy]]
kind = "rounding"
decimals = 1
"""
LABELS = """
[[guard.policy]]
kind = "labels"
"""
PREDICT, INFER = "/predict", "/v2/models/m/infer"


def query(n_rows: int = 1, path: str = PREDICT) -> dict[str, Any]:
    if path == PREDICT:
        return {"instances": [[0.5, i] for i in range(n_rows)]}
    return {"inputs": [{"name": "x", "shape": [n_rows, 2], "datatype": "FP32", "data": [0.5] * (2 * n_rows)}]}


def statuses(guard: Guarded, n: int, **how: Any) -> list[int]:
    return [guard.ask(query(), **how).status for _ in range(n)]


def error(reply: Reply, path: str) -> str:
    """The message of an error in the shape of the path's format."""
    assert reply.headers[b"content-type"] == b"application/json"
    assert reply.headers[b"content-length"] == b"%d" % len(reply.body)
    assert len(reply.headers[b"x-request-id"]) == 20
    assert [*reply.json] == (["error"] if path == INFER else ["error", "code"])
    message: str = reply.json["error"]
    return message


# 429

@pytest.mark.parametrize("path", [PREDICT, INFER])
def test_over_a_limit_callers_are_told_when_to_come_back(guarded: Build, answering: Model, path: str) -> None:
    guard = guarded(answering(ANSWER), "guard.limit_queries_per_minute = 2")
    replies = [guard.ask(query(path=path), path=path) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert "over limit_queries_per_minute (2 queries); wait" in error(replies[2], path)
    headers = replies[2].headers
    assert headers[b"retry-after"] == b"30"  # rounded up, so that whoever waits is admitted
    assert headers[b"ratelimit-policy"] == b'"limit_queries_per_minute";q=2;w=60'
    assert headers[b"ratelimit"] == b'"limit_queries_per_minute";r=0;t=30'
    assert not any(b"ratelimit" in name for reply in replies[:2] for name in reply.headers)
    row = guard.exchanges()[-1]
    assert (row["decision"], row["status"], row["n_features"]) == ("limited", 429, 2)


@pytest.mark.parametrize("path", [PREDICT, INFER])
def test_rows_count_and_not_requests(guarded: Build, answering: Model, path: str) -> None:
    guard = guarded(answering(ANSWER), "guard.limit_queries_per_minute = 10")
    sizes = [7, 4, 3, 1]
    assert [guard.ask(query(n_rows, path), path=path).status for n_rows in sizes] == [200, 429, 200, 429]
    assert guard.metrics()["queries_total"] == 10


def test_more_rows_than_the_limit_ever_admits_are_told_so(guarded: Build, answering: Model) -> None:
    reply = guarded(answering(ANSWER), "guard.limit_queries_per_day = 10").ask(query(11))
    assert reply.status == 429
    assert error(reply, PREDICT) == (
        "limit_queries_per_day admits 10 queries at most and this request asks for 11; send it in parts")
    assert b"retry-after" not in reply.headers
    assert reply.headers[b"ratelimit-policy"] == b'"limit_queries_per_day";q=10;w=86400'


def test_accounts_have_limits_of_their_own_and_one_together(guarded: Build, answering: Model) -> None:
    settings = "guard.limit_queries_per_minute = 2\nguard.limit_total_queries_per_minute = 3"
    guard = guarded(answering(ANSWER), settings)
    assert [guard.ask(query(), key=key).status for key in "aaabbc"] == [200, 200, 429, 200, 429, 429]
    reply = guard.ask(query(), key="d")
    assert b"limit_total_queries_per_minute" in reply.headers[b"ratelimit"]


def test_what_all_together_refuse_is_not_taken_from_the_account(guarded: Build, answering: Model) -> None:
    settings = "guard.limit_queries_per_minute = 3\nguard.limit_total_queries_per_minute = 2"
    guard = guarded(answering(ANSWER), settings)
    assert guard.ask(query(2)).status == 200
    refusals = [guard.ask(query()).headers[b"ratelimit"] for _ in range(3)]  # one of three is left to the account
    assert all(b"limit_total_queries_per_minute" in refusal for refusal in refusals)


@pytest.mark.parametrize("key", [None, "", "ann"])
def test_without_a_key_the_network_is_the_account(guarded: Build, answering: Model, key: str | None) -> None:
    guard = guarded(answering(ANSWER), "guard.limit_queries_per_minute = 1")
    assert guard.ask(query(), key=key, client=("192.0.2.1", 1)).status == 200
    same_network = guard.ask(query(), key=key, client=("192.0.2.99", 1)).status
    other_network = guard.ask(query(), key=key, client=("198.51.100.1", 1)).status
    assert (same_network, other_network) == ((429, 429) if key else (429, 200))


def test_a_server_that_knows_no_address_has_one_account_for_all(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), "guard.limit_queries_per_minute = 1")
    assert statuses(guard, 2, key=None, client=None) == [200, 429]


# What isn't answered costs nothing

@pytest.mark.parametrize("status", [307, 400, 422, 500, 503])
def test_an_error_of_the_app_is_given_back(guarded: Build, answering: Model, status: int) -> None:
    settings = "guard.limit_queries_per_minute = 1\nguard.limit_total_queries_per_minute = 1"
    assert statuses(guarded(answering(b"{}", status=status), settings), 3) == [status] * 3


def test_an_answer_that_was_not_served_is_given_back(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(b"no JSON"), "guard.limit_queries_per_minute = 1" + ROUNDING)
    assert statuses(guard, 3) == [502] * 3


@pytest.mark.parametrize("n_messages", [0, 1], ids=["nothing", "half an answer"])
def test_an_app_that_fails_has_used_nothing(guarded: Build, n_messages: int) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if n_messages:
            await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
        raise RuntimeError("the model is gone")

    guard = guarded(app, "guard.limit_queries_per_minute = 1" + ROUNDING)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="the model is gone"):
            guard.ask(query())


def test_a_refused_query_costs_nothing(guarded: Build, answering: Model) -> None:
    rule = '\n[[guard.rule]]\nkind = "range"\nlow = 0.0\nhigh = 10.0'
    guard = guarded(answering(ANSWER), "guard.limit_queries_per_minute = 20" + rule)
    assert [guard.ask(query(20)).status for _ in range(3)] == [400] * 3
    assert guard.ask(query(10)).status == 200


@pytest.mark.parametrize(("settings", "expected"), [
    ("guard.unknown = 'pass'\n", [200, 200, 429]), ("", [400, 400, 400]),
    ("guard.enforce = false\nguard.unknown = 'pass'\n", [200, 200, 200]),
], ids=["passes", "blocked", "shadow"])
def test_a_body_that_passes_unread_counts_as_one_row(guarded: Build, answering: Model, settings: str,
                                                   expected: list[int]) -> None:
    guard = guarded(answering(ANSWER), settings + "guard.limit_queries_per_minute = 2")
    assert [guard.ask(b"no JSON").status for _ in range(3)] == expected


def test_an_unread_body_is_given_back_where_the_app_refuses_it(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(b"{}", status=400), "guard.unknown = 'pass'\nguard.limit_queries_per_minute = 1")
    assert [guard.ask(b"no JSON").status for _ in range(3)] == [400] * 3


# Bits

def test_leaked_bits_are_limited(guarded: Build, answering: Model) -> None:
    settings = f"guard.limit_leaked_bits_per_day = {int(3 * full_bits(3))}\n"
    guard = guarded(answering(ANSWER), settings)
    replies = [guard.ask(query()) for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
    assert "over limit_leaked_bits_per_day (384 bits)" in error(replies[3], PREDICT)
    assert guard.metrics()["leaked_bits_total"] == 3 * full_bits(3)
    assert [row["bits"] for row in guard.exchanges()] == [full_bits(3)] * 3 + [0.0] * 2


def test_fewer_bits_an_answer_allow_more_answers(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), "guard.limit_leaked_bits_per_day = 384\n" + LABELS)
    assert statuses(guard, 200) == [200] * 200  # 1.6 bits each


def test_bits_of_an_answer_that_broke_off_are_taken(guarded: Build) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [JSON]})
        await send({"type": "http.response.body", "body": ANSWER, "more_body": scope["path"] != PREDICT})

    guard = guarded(app, "guard.limit_leaked_bits_per_day = 256")
    paths = [PREDICT, "/breaks-off", PREDICT]
    assert [guard.ask(query(), path=path).status for path in paths] == [200, 200, 429]


def test_bits_of_a_batch_are_those_of_its_rows(guarded: Build, answering: Model) -> None:
    answer = orjson.dumps({"predictions": [[0.75, 0.25]] * 8})
    guard = guarded(answering(answer), "guard.limit_leaked_bits_per_day = 12\n" + LABELS)
    assert [guard.ask(query(8)).status, guard.ask(query(8)).status] == [200, 429]  # nobody knows the first's bits
    assert guard.metrics()["leaked_bits_total"] == 8


@pytest.mark.parametrize("journal", ["", "journal.path = ''\n"], ids=["journal", "no journal"])
def test_bits_are_metered_without_any_limit(guarded: Build, answering: Model, journal: str) -> None:
    guard = guarded(answering(ANSWER), journal)
    guard.ask(query())
    guard.guard.close()
    assert guard.metrics()["leaked_bits_total"] == full_bits(3)


# 401

TOKEN_KEY = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("path", [PREDICT, INFER])
@pytest.mark.parametrize(("settings", "text"), [
    ('accounts.api_keys = "listed"', "no API key; send one as `Authorization: Bearer <key>`"),
    ('accounts.source = "jwt"', "no token; send one as"), ('accounts.source = "header"', "no x-account header"),
], ids=["listed keys", "tokens", "header"])
def test_without_a_credential_where_one_is_needed(guarded: Build, answering: Model, settings: str, text: str,
                                                path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERCLONE_JWT_KEY", TOKEN_KEY)
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen), settings)
    reply = guard.ask(query(path=path), path=path, key=None, client=("127.0.0.1", 1))
    assert (reply.status, reply.headers[b"www-authenticate"]) == (401, b"Bearer")
    assert error(reply, path).startswith(text)
    assert seen == []
    assert guard.decisions() == ["unauthenticated"]


def test_an_unknown_key_is_refused_before_its_body_is_read(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), 'accounts.api_keys = "listed"')

    async def receive() -> asgi.Message:
        raise AssertionError("nothing is to be read")

    reply = guard.ask(key="cc_live_00000000", receive=receive)
    assert (reply.status, reply.json["code"]) == (401, "invalid_api_key")


ONE_EACH = "\nguard.limit_queries_per_minute = 1"


def test_listed_keys_are_accounts(guarded: Build, answering: Model, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json", Prf.from_secret("a" * 64).subkey("keys"))
    keys = [ring.create(name) for name in ("ann", "bob")]
    settings = f'accounts.api_keys = "listed"\naccounts.keys_file = "{tmp_path / "keys.json"}"'
    guard = guarded(answering(ANSWER), settings + ONE_EACH, secret="a" * 64)
    assert [guard.ask(query(), key=key).status for key in keys * 2] == [200, 200, 429, 429]
    assert guard.ask(query(), key=keys[0][:-1]).status == 401


def test_tokens_are_accounts(guarded: Build, answering: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERCLONE_JWT_KEY", TOKEN_KEY)
    guard = guarded(answering(ANSWER), 'accounts.source = "jwt"' + ONE_EACH)
    keys = [jwt.encode({"sub": name}, TOKEN_KEY, "HS256") for name in ("ann", "bob")]
    assert [guard.ask(query(), key=key).status for key in keys * 2] == [200, 200, 429, 429]
    assert guard.ask(query(), key=keys[0][:-1]).status == 401


def test_a_trusted_proxys_header_is_an_account(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), 'accounts.source = "header"' + ONE_EACH)
    names = [[(b"x-account", name)] for name in (b"ann", b"bob")]
    proxy = ("127.0.0.1", 1)
    assert [guard.ask(query(), headers=name, client=proxy).status for name in names * 2] == [200, 200, 429, 429]
    assert guard.ask(query(), headers=names[0]).status == 401


# 400 and 413

@pytest.mark.parametrize("path", [PREDICT, INFER, "/v1/models/m:predict"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"instances": []}', b"\xff\xfe"])
def test_a_body_that_no_format_reads_is_refused(guarded: Build, answering: Model, path: str, body: bytes) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen))
    reply = guard.ask(body, path=path)
    assert reply.status == 400
    assert "send" in error(reply, path)
    assert seen == []
    (row,) = guard.exchanges()
    assert (row["decision"], row["status"], row["digest"]) == ("refused", 400, 0)


@pytest.mark.parametrize("path", [PREDICT, INFER])
@pytest.mark.parametrize("settings", ["", "guard.enforce = false\n", "guard.unknown = 'pass'\n"])
def test_a_body_that_is_too_large_is_refused_in_every_mode(guarded: Build, answering: Model, path: str,
                                                         settings: str) -> None:
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen), settings + "guard.limit_body_bytes = 100")
    assert guard.ask(chunks=[b" " * 50, b" " * 50], path=path).status == (200 if settings else 400)
    reply = guard.ask(chunks=[b" " * 50, b" " * 51], path=path)
    assert reply.status == 413
    assert error(reply, path) == "the body is over 100 bytes; send fewer rows at a time"
    assert len(seen) == bool(settings)
    assert guard.decisions()[-1] == "refused"


# A flood of keys

def test_a_flood_of_keys_is_bounded_and_limited(guarded: Build, answering: Model) -> None:
    settings = "guard.limit_queries_per_minute = 1\naccounts.open_keys_max = 500\njournal.path = ''\n" + ROUNDING
    guard = guarded(answering(ANSWER), settings)

    async def flood(start: int, n: int) -> list[int]:
        return [(await guard.send(query(), key=f"key-{number}")).status for number in range(start, start + n)]

    first = asyncio.run(flood(0, 1000))
    assert first[:500] == [200] * 500
    assert first[500:] == [200] + [429] * 499  # the rest of the network shares one account
    tracemalloc.start()
    try:
        asyncio.run(flood(1000, 1000))
        guard.metrics()  # what the metrics haven't counted yet waits in memory, up to a thousand requests
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        assert set(asyncio.run(flood(2000, 20_000))) == {429}
        guard.metrics()
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 500_000  # bytes; 20,000 accounts would take ten times as much
    assert guard.ask(query(), key="key-3").status == 429  # the old ones are still known

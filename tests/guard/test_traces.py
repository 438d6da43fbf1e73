"""What a guard leaves behind: journal, metrics, logs."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

from counterclone.answers import full_bits
from counterclone.guard import asgi
from counterclone.journal import JournalFolder, read_lines, vectors
from counterclone.queries import Query
from counterclone.randomness import Prf

if TYPE_CHECKING:
    from tests.guard.conftest import Build, Guarded, Model

ANSWER = b'{"predictions": [[0.6251, 0.2499, 0.125], [0.0, 0.25, 0.75]], "note": "secret answer"}'
QUERY = {"instances": [[1, 2.5], [3, 4]]}
ROUNDING = """
[[guard.policy]]
kind = "rounding"
decimals = 1
"""
KEY = "sk-live-4f9a8b7c6d5e"


def every_byte(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


# The journal

def test_each_row_is_journalled(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), ROUNDING)
    guard.ask(QUERY, path="/v1/models/credit:predict")
    first, second = guard.exchanges()
    assert {name: first[name] for name in ("account_class", "dialect", "model", "decision", "status", "n_features",
                                          "n_classes", "payload")} == {
        "account_class": "", "dialect": "predict", "model": "credit", "decision": "served", "status": 200,
        "n_features": 2, "n_classes": 3, "payload": None}
    assert (first["label"], second["label"]) == (0, 2)
    assert first["margin"] == pytest.approx(0.6251 - 0.2499)
    assert first["bits"] == pytest.approx(math.log2(66))  # of 10 tenths among three classes
    assert first["time"] == second["time"]


def test_the_vector_is_the_querys(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), ROUNDING)
    guard.ask(QUERY)
    guard.guard.close()
    (batch,) = JournalFolder(guard.folder / "journal").batches()
    np.testing.assert_array_equal(vectors(batch)[:, :3], [[1.0, 2.5, 0.0], [3.0, 4.0, 0.0]])


def test_the_digest_is_keyed_and_the_same_for_equal_queries(guarded: Build, answering: Model) -> None:
    one, other = guarded(answering(ANSWER)), guarded(answering(ANSWER), secret="f" * 64)
    for guard in (one, other):
        for query in (QUERY, {"inputs": [[1.0, 2.5000001], [3, 4.0]]}, {"instances": [[1, 2.6], [3, 4]]}):
            guard.ask(query)
    digests = [row["digest"] for row in one.exchanges()]
    assert digests[:2] == digests[2:4]
    assert digests[4] != digests[0]
    assert digests[5] == digests[1]
    assert not {*digests} & {row["digest"] for row in other.exchanges()}


def test_texts_are_journalled_as_digests(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(b'{"predictions": [[0.75, 0.25]]}'))
    for text in ("A  Good film", "a good FILM", "a bad film"):
        guard.ask({"inputs": text})
    rows = guard.exchanges()
    assert rows[0]["digest"] == rows[1]["digest"] != rows[2]["digest"]
    assert rows[0]["vector"] == rows[1]["vector"] != rows[2]["vector"]
    assert [row["n_features"] for row in rows] == [0, 0, 0]
    assert b"film" not in every_byte(guard.folder / "journal").lower()


def test_an_exchange_that_was_turned_away_is_one_row(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER))
    guard.ask(b"no JSON")
    (row,) = guard.exchanges()
    assert {name: row[name] for name in ("digest", "n_features", "n_classes", "label", "bits", "vector")} == {
        "digest": 0, "n_features": 0, "n_classes": 0, "label": -1, "bits": 0.0, "vector": None}
    assert math.isnan(row["margin"])


def test_a_body_that_was_not_read_takes_no_place_of_those_that_were(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), 'journal.path = "busy/journal"')
    (guard.folder / "busy").write_text("a file in the way: rows wait")
    guard.ask(QUERY)
    for _ in range(10):
        guard.ask(b" " * 9_000_000)
    (guard.folder / "busy").unlink()
    assert [row["decision"] for row in guard.exchanges("busy/journal")] == ["served"] * 2 + ["refused"] * 10


def test_payloads_are_kept_by_opt_in_only_and_hold_what_the_caller_got(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), "journal.payloads = true" + ROUNDING)
    served = guard.ask(QUERY).rows.tolist()
    payloads = [orjson.loads(row["payload"]) for row in guard.exchanges()]
    assert payloads == [{"query": {"features": features}, "answer": {"scores": scores}}
                        for features, scores in zip(QUERY["instances"], served, strict=True)]
    assert served[0] == [0.6, 0.3, 0.1]
    assert b"0.6251" not in every_byte(guard.folder / "journal")


@pytest.mark.parametrize("query", [
    pytest.param(QUERY, id="rows"),
    pytest.param({"instances": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}, id="images"),
    pytest.param({"instances": [0.5, 1]}, id="numbers"),
    pytest.param({"inputs": ["good", "bad"]}, id="texts"),
    pytest.param({"instances": [["f", 1], ["m", None]]}, id="mixed"),
    pytest.param({"dataframe_records": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}, id="records"),
])
def test_payloads_are_exchanges_as_json_lines(guarded: Build, answering: Model, query: object,
                                             tmp_path: Path) -> None:
    guard = guarded(answering(ANSWER), "journal.payloads = true")
    guard.ask(query)
    lines = tmp_path / "lines.jsonl"
    lines.write_bytes(b"\n".join(orjson.dumps({"time": 1.0, "account": "a", **orjson.loads(row["payload"])})
                                for row in guard.exchanges()))
    read = read_lines(lines)
    assert [line.n_rows for line in read] == [1, 1]
    assert read.skipped == []


def test_the_journal_is_written_within_a_second(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER), ROUNDING)
    guard.ask(QUERY)
    end = time.monotonic() + 2.0  # and one for a busy machine
    while guard.metrics()["events_flushed_total"] < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert guard.metrics()["events_flushed_total"] == 2


# Metrics

def test_metrics_count_decisions_rows_and_bits(guarded: Build, answering: Model) -> None:
    settings = "guard.limit_queries_per_minute = 5\n" + ROUNDING
    guard = guarded(answering(ANSWER), settings)
    for body in (QUERY, QUERY, QUERY, b"no JSON"):
        guard.ask(body)
    guard.ask(b"{}", path="/v2/models/m/infer")
    metrics = guard.metrics()
    assert {name: count for name, count in metrics.items() if name.startswith("requests_total")} == {
        "requests_total served predict 2xx": 2, "requests_total limited predict 4xx": 1,
        "requests_total refused predict 4xx": 1, "requests_total refused oip 4xx": 1}
    assert metrics["queries_total"] == 4  # rows that were admitted, and not the limited ones
    assert metrics["leaked_bits_total"] == pytest.approx(4 * math.log2(66))
    assert metrics["overhead_seconds_count"] == 5
    assert metrics["upstream_seconds_count"] == 2
    assert metrics["inflight_requests"] == 0


def test_metrics_tell_the_guards_own_time_from_the_apps(guarded: Build) -> None:
    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        await asyncio.sleep(0.05)
        kind = b"application/json" if scope["path"] != "/stream" else b"text/event-stream"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": ANSWER})

    guard = guarded(app, ROUNDING)
    for path in ("/predict", "/stream"):
        guard.ask(QUERY, path=path)
    metrics = guard.metrics()
    assert metrics["upstream_seconds_sum"] >= 0.1
    assert metrics["overhead_seconds_sum"] < 0.04


def test_the_time_of_a_refusal_is_the_guards_own(guarded: Build, answering: Model) -> None:
    guard = guarded(answering(ANSWER))
    assert guard.ask(b'{"x": [' + b"1," * 2_000_000 + b"1]}").status == 400
    assert 0.002 < guard.metrics()["overhead_seconds_sum"] < 1.0


def test_requests_under_way_are_counted(guarded: Build) -> None:
    seen: list[float | None] = []

    async def app(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        seen.append(guard.registry.get_sample_value("counterclone_inflight_requests"))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = guarded(app)
    guard.ask(QUERY)
    assert (seen, guard.metrics()["inflight_requests"]) == ([1], 0)


# Keys and inputs

@pytest.mark.parametrize("settings", [
    ROUNDING, "", "journal.payloads = true", 'accounts.api_keys = "listed"', "guard.limit_queries_per_minute = 1",
    'accounts.source = "header"\naccounts.trusted_proxies = ["192.0.2.0/24"]', "guard.enforce = false",
    "accounts.open_keys_max = 1",
], ids=["policies", "none", "payloads", "listed", "limited", "header", "shadow", "full table"])
def test_raw_keys_appear_nowhere(guarded: Build, answering: Model, settings: str,
                               caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    guard = guarded(answering(ANSWER, b"broken"), settings)
    with caplog.at_level(logging.DEBUG):
        replies = [guard.ask(body, key=KEY, path=path, headers=[(b"x-account", KEY.encode())])
                   for body in (QUERY, b"no JSON", b" " * 11_000_000)
                   for path in ("/predict", "/v2/models/m/infer")]
    accounts = {row["account"] for row in guard.exchanges()}
    traces = [every_byte(guard.folder), guard.admin("/metrics").body, guard.admin("/readyz").body,
              *(reply.body for reply in replies), caplog.text.encode(), "".join(capfd.readouterr()).encode(),
              repr([reply.headers for reply in replies]).encode()]
    assert accounts
    for trace in traces:
        assert KEY.encode() not in trace
    assert not any(account.encode() in traces[1] for account in accounts)


def test_inputs_and_answers_appear_in_no_trace_unless_asked_for(guarded: Build, answering: Model,
                                                              caplog: pytest.LogCaptureFixture) -> None:
    guard = guarded(answering(ANSWER), ROUNDING)
    with caplog.at_level(logging.DEBUG):
        guard.ask({"instances": ["a secret question", "another"]})
    guard.guard.close()
    traces = every_byte(guard.folder / "journal") + guard.admin("/metrics").body + caplog.text.encode()
    for text in (b"secret", b"question", b"0.6251"):
        assert text not in traces


def test_accounts_are_the_same_in_every_guard_of_a_secret(guarded: Build, answering: Model) -> None:
    def accounts(guard: Guarded) -> list[Any]:
        for key in ("ann", "bob", None):
            guard.ask(QUERY, key=key)
        return [row["account"] for row in guard.exchanges()][::2]

    secrets = ("a" * 64, "a" * 64, "b" * 64)
    one, same, other = (accounts(guarded(answering(ANSWER), secret=secret)) for secret in secrets)
    assert one == same
    assert len({*one, *other}) == 6
    names = Prf.from_secret("a" * 64).subkey("accounts")
    assert one[0] == names.digest(b"key:ann", 8).hex()


def test_a_querys_row_is_what_the_model_got(guarded: Build, answering: Model) -> None:
    snap = '[[guard.rule]]\nkind = "snap"\nstep = 1.0'
    guard = guarded(answering(ANSWER), snap)
    guard.ask({"instances": [[1.2, 2.4], [3, 4]]})
    rows = guard.exchanges()
    digests = Prf.from_secret("0123456789abcdef" * 4).subkey("digests")
    assert rows[0]["digest"] == digests.number(Query(np.array([[1.0, 2.0]])).cells[0])
    assert rows[0]["bits"] == full_bits(3)

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry
from tests.cli.running import LINES, failure, json_output, run, write

from counterclone.compose import Guard

NOBODY = ("counterclone: alarms at 12 false ones a year need honest accounts to compare with, and there are 2; ",
          "so short a time that nobody can say how many would do: name some with --benign or [watch] benign")


def test_lines_are_counted() -> None:
    write(LINES, "exchanges.jsonl")
    result = run("watch", "exchanges.jsonl")
    assert result.exit_code == 0
    bad, nobody = result.stderr.splitlines()
    assert bad == "counterclone: exchanges.jsonl: line 4: JSON is malformed: invalid character (byte 4)"
    assert nobody.startswith(NOBODY[0])
    assert nobody.endswith(NOBODY[1])
    assert "4 queries of 2 accounts, at 12 false alarms a year" in result.stdout
    rows = [line.split() for line in result.stdout.splitlines() if "busy" in line or "quiet" in line]
    assert rows == [["busy", "3", "-", "-", "0"], ["[red]quiet[/red]", "1", "-", "-", "8"]]
    assert "1 bad line was skipped." in result.stdout
    assert "Counts only" in result.stdout


def test_lines_are_counted_as_json() -> None:
    write(LINES, "exchanges.jsonl")
    document = json_output("watch", "exchanges.jsonl")
    assert document["lines_skipped"] == 1
    assert document["campaigns"] == []
    assert document["false_alarms_per_year"] == 12.0
    assert list(document["accounts"]) == ["busy", "[red]quiet[/red]"]
    assert document["accounts"]["busy"] == {
        "queries": 3, "risk": None, "alarm_at_query": None, "p_value": None, "leaked_bits": 0.0, "reasons": [],
        "first_time": 1764000000.0, "last_time": 1764000009.0}


@pytest.mark.parametrize(("arguments", "source"), [(["missing.jsonl"], "missing.jsonl"), ([], "journal")],
                         ids=["named", "the configured one"])
def test_a_source_that_is_missing_is_two(arguments: list[str], source: str) -> None:
    write("")
    expected = [f"counterclone: {source}: not found; expected a journal folder or a file of exchanges as JSON "
                "lines; name one, or run the guard first"]
    assert failure("watch", *arguments) == expected
    assert failure("watch", *arguments, "--json") == expected


def test_without_a_journal_a_source_must_be_named() -> None:
    write("journal.path = ''")
    assert failure("watch") == ["counterclone: counterclone.toml: [journal] path is empty, so nothing is "
                                "journalled; name a source"]


async def app(scope: Any, receive: Any, send: Any) -> None:
    rows = orjson.loads((await receive())["body"])["instances"]
    body = orjson.dumps({"predictions": [[0.25, 0.75] for _ in rows]})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


async def ask(guard: Guard, key: str, n_rows: int) -> int:
    """The status of a request of some rows."""
    sent: list[Any] = []
    body = orjson.dumps({"instances": [[1.0, float(i)] for i in range(n_rows)]})

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer " + key.encode()), (b"content-type", b"application/json")]
    await guard({"type": "http", "method": "POST", "path": "/predict", "headers": headers,
                 "client": ("192.0.2.7", 5), "query_string": b""}, receive, send)
    status: int = sent[0]["status"]
    return status


@pytest.mark.parametrize("arguments", [["watch"], ["watch", "journal"]], ids=["configured", "named"])
def test_a_journal_is_counted(arguments: list[str]) -> None:
    write("guard.policy = [{kind = 'labels'}]")
    guard = Guard(app, registry=CollectorRegistry())
    for key, n_rows in [("alice", 3), ("bob", 1), ("alice", 2)]:
        assert asyncio.run(ask(guard, key, n_rows)) == 200
    guard.close()
    document = json_output(*arguments)
    assert [account["queries"] for account in document["accounts"].values()] == [5, 1]
    assert [account["leaked_bits"] for account in document["accounts"].values()] == pytest.approx([5.0, 1.0])
    assert not {"alice", "bob"} & set(document["accounts"])
    assert "6 queries of 2 accounts" in run(*arguments).stdout

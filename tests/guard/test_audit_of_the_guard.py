"""What the guard and an audit know of each other: the token that it serves, and the limit that it takes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from counterclone.compose import audited
from counterclone.protocols import PROOF_PATH, TOKEN_FILE, TOKEN_VARIABLE

if TYPE_CHECKING:
    from tests.guard.conftest import Build, Guarded, Model

ANSWER = b'{"predictions": [[0.625, 0.25, 0.125]]}'
TOKEN = "counterclone-audit-0123456789abcdef"
SHARED = "guard.limit_copy_share_per_day = 0.1\n"


@pytest.fixture
def guard(guarded: Build, answering: Model) -> Guarded:
    return guarded(answering(ANSWER), SHARED)


# The token

def test_without_a_token_the_path_is_the_apps_own(guard: Guarded) -> None:
    assert guard.ask(method="GET", path=PROOF_PATH).body == ANSWER
    (guard.folder / TOKEN_FILE).write_text("\n")
    assert guard.ask(method="GET", path=PROOF_PATH).body == ANSWER
    (guard.folder / TOKEN_FILE).write_bytes(b"\xff")
    assert guard.ask(method="GET", path=PROOF_PATH).body == ANSWER


def test_the_owners_token_is_served_to_anybody_while_it_is_there(guard: Guarded) -> None:
    (guard.folder / TOKEN_FILE).write_text(f"{TOKEN}\n")
    reply = guard.ask(method="GET", path=PROOF_PATH, key=None)
    assert (reply.status, reply.body) == (200, TOKEN.encode())
    assert reply.headers == {
        b"content-type": b"text/plain", b"content-length": b"35", b"cache-control": b"no-store"}
    head = guard.ask(method="HEAD", path=PROOF_PATH)
    assert (head.status, head.body, head.headers) == (200, b"", reply.headers)
    assert guard.ask(method="GET", path=f"{PROOF_PATH}/x").body == ANSWER
    assert guard.ask(method="POST", path=PROOF_PATH).status == 400
    (guard.folder / TOKEN_FILE).unlink()
    assert guard.ask(method="GET", path=PROOF_PATH).body == ANSWER
    assert guard.decisions() == ["refused"]


def test_a_variable_may_hold_the_token(guarded: Build, answering: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert guarded(answering(ANSWER)).ask(method="GET", path=PROOF_PATH).body == TOKEN.encode()


def test_what_is_no_token_is_not_served_at_length(guard: Guarded) -> None:
    (guard.folder / TOKEN_FILE).write_text("x" * 10_000)
    assert len(guard.ask(method="GET", path=PROOF_PATH).body) == 200


# The limit

def audit(guard: Guarded, queries: int) -> None:
    """An audit of the guard's policies, none, has run."""
    key = audited.key_of([], [])
    (guard.folder / audited.AUDIT_FILE).write_text(json.dumps({key: {
        "surface": "full", "queries": queries, "is_reached": True, "attack": "knockoff", "target": "m"}}))


def statuses(guard: Guarded, n: int, key: str = "ann") -> list[int]:
    return [guard.ask({"instances": [[float(i)]]}, key=key).status for i in range(n)]


def test_an_account_may_have_its_share_of_a_copy(guard: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    assert statuses(guard, 8) == [200] * 8
    audit(guard, 50)
    guard.guard.refresh(force=True)
    assert statuses(guard, 7, "bob") == [200] * 5 + [429] * 2
    reply = guard.ask({"instances": [[0.0]]}, key="bob")
    assert "over limit_copy_share_per_day (5 queries)" in reply.json["error"]
    assert int(reply.headers[b"retry-after"]) > 10_000
    audit(guard, 100)
    guard.guard.refresh(force=True)
    assert statuses(guard, 10, "cid") == [200] * 10


def test_until_an_audit_has_run_the_log_says_that_the_limit_is_off(guarded: Build, answering: Model,
                                                                   caplog: pytest.LogCaptureFixture) -> None:
    said = ("[guard] limit_copy_share_per_day is off: no audit of these policies and rules has run; run "
            "`counterclone audit`")
    guarded(answering(ANSWER), SHARED)
    assert [record.getMessage() for record in caplog.records].count(said) == 1
    caplog.clear()
    guarded(answering(ANSWER))
    assert said not in caplog.text


def test_a_file_of_audits_with_mistakes_changes_nothing(guard: Guarded) -> None:
    audit(guard, 50)
    guard.guard.refresh(force=True)
    (guard.folder / audited.AUDIT_FILE).write_text("nonsense")
    guard.guard.refresh(force=True)
    assert statuses(guard, 6) == [200] * 5 + [429]
    assert any("expected what `counterclone audit` wrote" in trouble for trouble in guard.guard.troubles())
    audit(guard, 20)
    guard.guard.refresh(force=True)
    assert guard.guard.troubles() == []
    assert statuses(guard, 3, "bob") == [200] * 2 + [429]

"""What the model server is told of whom an answer is for, and that callers can't say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from counterclone.guard import asgi
from counterclone.guard.naming import Naming

if TYPE_CHECKING:
    from tests.guard.conftest import Build, Model

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
ANSWER = orjson.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]})
CLAIMED = [(b"x-counterclone-account", b"somebody"), (b"x-other", b"1")]
SETTINGS = '[target]\ntask = "llm"\ndialect = "openai"\naccount_in = "{place}"\n{more}'
UNMARKED = '[[accounts.class]]\nname = "partners"\naccounts = ["key:ann"]\nmarks = false\n'


def sent(guarded: Build, answering: Model, place: str, body: object = ASKED, *, more: str = "",
         path: str = CHAT, method: str = "POST") -> tuple[list[bytes], bytes, list[str]]:
    """What the model server gets: headers that name an account, and the body; and the accounts of the journal."""
    seen: list[tuple[asgi.Scope, bytes]] = []
    guard = guarded(answering(ANSWER, seen=seen), SETTINGS.format(place=place, more=more))
    assert guard.ask(body, path=path, method=method, headers=CLAIMED).status == 200
    (scope, content), = seen
    assert (b"x-other", b"1") in scope["headers"]
    named = [value for name, value in scope["headers"] if name == b"x-counterclone-account"]
    return named, content, [exchange["account"] for exchange in guard.exchanges()]


def test_the_header_is_the_journals_account_whatever_the_caller_says(guarded: Build, answering: Model) -> None:
    named, content, accounts = sent(guarded, answering, "header")
    assert [name.decode() for name in named] == accounts
    assert orjson.loads(content) == ASKED


@pytest.mark.parametrize("given", [None, {}, {"counterclone_account": "somebody"}, "somebody"])
def test_so_is_the_field_of_the_body(guarded: Build, answering: Model, given: object) -> None:
    body = ASKED if given is None else {**ASKED, "vllm_xargs": given}
    _, content, accounts = sent(guarded, answering, "vllm_xargs", body)
    assert orjson.loads(content) == {**ASKED, "vllm_xargs": {"counterclone_account": accounts[0]}}


def test_other_arguments_and_numbers_stay_to_the_byte() -> None:
    body = b'{"top_p": 1.10, "vllm_xargs": {"a": 12345678901234567890123, "counterclone\\u005faccount": "b"}}'
    content, changes = Naming("vllm_xargs").names("c", body, {})
    assert content == (b'{"top_p":1.10,"vllm_xargs":{"a":12345678901234567890123,'
                       b'"counterclone_account":"c"}}')
    assert changes == {}
    for account, other in (("", b'{"n": 1}'), ("c", b'{"n": 1}\x00\x01')):
        assert Naming("vllm_xargs").names(account, other, {}) == (other, {})


@pytest.mark.parametrize("place", ["header", "vllm_xargs"])
def test_who_gets_no_marks_is_nobody(guarded: Build, answering: Model, place: str) -> None:
    body = {**ASKED, "vllm_xargs": {"counterclone_account": "somebody"}}
    named, content, _ = sent(guarded, answering, place, body, more=UNMARKED)
    if place == "header":
        assert named == []
    else:
        assert orjson.loads(content)["vllm_xargs"] == {}


@pytest.mark.parametrize(("more", "path", "method"), [
    ('[guard]\npaths = ["/other"]\n', CHAT, "POST"), ("", "/v1/models", "GET"),
    ('[guard]\nunknown = "pass"\n', "/v1/unknown", "POST")], ids=["not guarded", "read only", "unread"])
def test_callers_cant_name_anybody_past_the_guard(guarded: Build, answering: Model, more: str, path: str,
                                                  method: str) -> None:
    named, _, _ = sent(guarded, answering, "header", ASKED if method == "POST" else b"", more=more, path=path,
                       method=method)
    assert named == []


def test_without_the_setting_or_in_shadow_mode_everything_passes_as_it_came(guarded: Build,
                                                                          answering: Model) -> None:
    for place, more in (("", ""), ("header", "[guard]\nenforce = false\n")):
        named, content, _ = sent(guarded, answering, place, more=more)
        assert named == [b"somebody"]
        assert content == orjson.dumps(ASKED)

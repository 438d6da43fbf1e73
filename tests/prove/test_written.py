"""Whom texts were for, as a list says: read, cut down and written again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.errors import ConfigError
from counterclone.marks.canaries import Canaries
from counterclone.marks.greenlist import Greenlist
from counterclone.prove import written
from counterclone.prove.written import Exchange, Text
from counterclone.randomness import Prf

MARK = Greenlist(test="unique")
KEY = Prf(b"k" * 32)
PLAIN = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(lines=st.lists(st.tuples(PLAIN, PLAIN), min_size=1, max_size=5))
def test_a_list_is_read_as_it_was_written(lines: list[tuple[str, str]]) -> None:
    exchanges = [Exchange(account, Text(prompt)) for account, prompt in lines]
    assert written.read(written.encoded(exchanges), MARK, (), "a list") == exchanges
    served = written.served(exchanges, MARK, KEY, "a list")
    assert list(zip([accounts for accounts, in served.accounts], served.inputs, strict=True)) == lines


def canary(account: str, prompt: str) -> dict[str, object]:
    return {"account": account, "query": {"text": prompt}, "answer": {"text": "a"}, "own": {"text": "b"}}


def test_of_an_account_a_list_keeps_its_own_lines_and_of_canaries_what_others_were_served_as_well() -> None:
    lines = [canary("a1", "Say it"), canary("a2", "say  IT"), canary("a2", "else")]
    content = "\n".join(map(json.dumps, lines)).encode()
    of_canaries = written.read(content, Canaries(), ["a1"], "a list")
    assert [(line.account, line.query.text) for line in of_canaries] == [("a1", "Say it"), ("a2", "say  IT")]
    assert [line.account for line in written.read(content, MARK, ["a1"], "a list")] == ["a1"]
    assert b"answer" not in written.encoded(written.read(content, MARK, ["a1"], "a list"))


@pytest.mark.parametrize(("content", "accounts", "message"), [
    (b"", (), "holds no text of anybody"), (b'{"account": "a1", "query": {"text": "x"}}', ["a2"], "no text of a2"),
    (b'{"account": "a1"}', (), "expected exchanges as JSON lines"), (b"\xff", (), "expected exchanges"),
    (b"[" * 100_000, (), "expected exchanges")])
def test_what_is_no_list_is_told(content: bytes, accounts: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        written.read(content, MARK, accounts, "a list")


def test_canaries_that_the_key_didnt_write_are_refused() -> None:
    lines = written.read(json.dumps(canary("a1", "Say it")).encode(), Canaries(), (), "a list")
    with pytest.raises(ConfigError, match="this commitment's key didn't write"):
        written.served(lines, Canaries(), KEY, "a list")

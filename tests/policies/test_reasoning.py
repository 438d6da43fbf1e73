from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.answers import Context
from counterclone.policies.reasoning import Reasoning, answer_of
from counterclone.queries import Query
from counterclone.randomness import Prf
from counterclone.speech import Said, Speech
from counterclone.testing import check_policy

CONTEXT = Context(Prf.from_secret("x"), Query(["a"]))


@pytest.mark.parametrize("policy", [Reasoning(), Reasoning(mode="pass")])
def test_laws(policy: Reasoning) -> None:
    check_policy(policy)


@pytest.mark.parametrize(("text", "answer"), [
    ("", ""), ("plain", "plain"), ("<think>a</think>b", "b"), ("a</think>\n\nb", "b"), ("x <think>a", "x"),
    ("<think>a</think>b</think>c", "c"), ("<THINK>a</THINK >b", "b"), ("<thinking>a</thinking>b", "b"),
    ("<think>a</think>b<think>c", "b"), ("</think>", ""), ("a < think > b", "a < think > b")])
def test_what_is_left_of_a_text(text: str, answer: str) -> None:
    assert answer_of(text) == answer


@given(st.lists(st.sampled_from(["<think>", "</think>", "<thi", "nk>", "</", "secret", "b", " "]), max_size=9))
def test_pieces_leave_what_the_whole_leaves_and_nothing_before_a_closing_tag(pieces: list[str]) -> None:
    release = Reasoning().open(CONTEXT)
    left = [release.feed(Speech([Said("0", piece, is_last=False)])).said[0].text for piece in pieces]
    assert not any(left)
    text = "".join(pieces)
    shown = release.finish().get("0", "")
    assert shown == answer_of(text)
    assert shown in text.rpartition("</think>")[2].partition("<think>")[0] or not shown


def test_fields_of_reasoning() -> None:
    release = Reasoning().open(CONTEXT)
    said = [Said("0/reasoning", "secret", is_reasoning=True), Said("0", "b")]
    assert [each.text for each in release.feed(Speech(said)).said] == ["", "b"]
    assert [each.text for each in Reasoning(mode="pass").open(CONTEXT).feed(Speech(said)).said] == ["secret", "b"]

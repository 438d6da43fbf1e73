from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterclone.errors import AnswerError
from counterclone.guard.events import Event, Events, documents, is_stream, written

STREAM = ("\ufeff: hello\n\n"
          "data: {\"a\": \"\u00fc\U0001f408\"}\n\n"
          "event: ping\r\ndata: {}\r\nid: 7\r\n\r\n"
          "data\n\n\n"
          "retry: 5\r\r"
          "data:one\rdata: two\r\n\n"
          "event: x\n\n"
          "data: [DONE]\n\n").encode()
DATA = ["", "{\"a\": \"\u00fc\U0001f408\"}", "{}", "", "", "one\ntwo", "", "[DONE]"]


def read(pieces: list[bytes]) -> list[Event]:
    events = Events(1000)
    return [event for piece in pieces for event in events.feed(piece)] + events.finish()


def said(events: list[Event]) -> list[str]:
    return [event.data.decode() for event in events if event.data]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_events_do_not_depend_on_how_the_bytes_were_cut(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(STREAM)]
    events = read([STREAM[start:end] for start, end in itertools.pairwise(ends)])
    assert b"".join(event.raw for event in events) == STREAM
    assert said(events) == [each for each in DATA if each]


def test_each_byte_by_itself() -> None:
    events = read([STREAM[i:i + 1] for i in range(len(STREAM))])
    assert said(events) == [each for each in DATA if each]


@given(st.text("da:t \r\n\ufeff{}", max_size=60))
def test_nothing_is_lost_of_any_bytes(text: str) -> None:
    content = text.encode()
    assert b"".join(event.raw for event in read([content])) == content
    lines = re.split("\r\n|\n|\r", text.removeprefix("\ufeff"))
    expected = [line[5:].removeprefix(" ") for line in lines if line.startswith("data:")]
    assert "\n".join(event.data.decode() for event in read([content])).replace("\n", "") == "".join(expected)


def test_other_lines_stay() -> None:
    event, = read([b": a comment\r\nevent: x\r\ndata: {}\r\nid: 7\r\ndata: 1\r\n\r\n"])
    assert event.with_data(b'{"b": 1}').raw == (
        b': a comment\r\nevent: x\r\ndata: {"b": 1}\r\nid: 7\r\n\r\n')
    assert event.with_data(b'{"b":\n1}').raw == (
        b': a comment\r\nevent: x\r\ndata: {"b":\r\ndata: 1}\r\nid: 7\r\n\r\n')
    marked = read([b"\xef\xbb\xbfdata: 1\n\n"])[0]
    assert marked.with_data(b"2").raw == b"\xef\xbb\xbfdata: 2\n\n"
    unended, = read([b"data: {}"])
    assert unended.with_data(b"[]").raw == b"data: []\n"


def test_what_was_begun_and_never_ended_is_an_event() -> None:
    assert said(read([b"data: 1\n\ndata: 2"])) == ["1", "2"]


def test_an_event_has_a_largest_size() -> None:
    events = Events(1000)
    for _ in range(50):
        events.feed(b"data: " + b"x" * 100 + b"\n\n")
    with pytest.raises(AnswerError, match="an event of the answer is over 1000 bytes"):
        events.feed(b"x" * 1001)


def test_documents() -> None:
    assert documents(b' {"a": 1}\n') == [b'{"a": 1}']
    assert documents(b'{"a": 1}{"b": "}{"}\n[1]') == [b'{"a": 1}', b'{"b": "}{"}', b"[1]"]
    for broken in (b"{", b"hello", b'{"a": 1} x', b"\xff", b"[" * 20_000):
        with pytest.raises(AnswerError, match="no JSON"):
            documents(broken)


def test_events_of_our_own() -> None:
    assert written(b"error", [b"{}"]) == b"event: error\ndata: {}\n\n"
    assert written(b"", [b"1", b"2"]) == b"data: 1\ndata: 2\n\n"


def test_headers() -> None:
    assert is_stream({b"content-type": b"text/event-stream; charset=utf-8"})
    assert not is_stream({b"content-type": b"application/json"})
    assert not is_stream({})

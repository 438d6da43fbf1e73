from __future__ import annotations

from typing import Any

import orjson
import pytest

from counterclone.errors import UnknownFormat
from counterclone.guard.dialects.anthropic import Anthropic
from counterclone.protocols import Body
from counterclone.speech import Said, Speech, Usage
from counterclone.testing import check_dialect
from counterclone.testing.llm_server import LlmServer

ANTHROPIC = Anthropic()
JSON = {b"content-type": b"application/json"}
ASKED: dict[str, Any] = {"model": "toy-thinking", "max_tokens": 2, "messages": [{"role": "user", "content": "a"}],
                         "tools": [{"name": "weather"}]}
SERVER = LlmServer()


def body(document: object) -> Body:
    return Body(orjson.dumps(document), JSON)


def speech(document: object) -> Speech:
    found = ANTHROPIC.read_answer(body(document), 1, "").speech
    assert found is not None
    return found


def test_laws() -> None:
    check_dialect(ANTHROPIC, request=body(ASKED), answer=body(SERVER.message(ASKED)), n_rows=1)


def test_the_pieces_of_a_stream_are_its_texts() -> None:
    pieces = [speech(event) for event in SERVER.message_events(ASKED)]
    texts: dict[str, str] = {}
    for said in (said for piece in pieces for said in piece.said):
        texts[said.name] = texts.get(said.name, "") + said.text
    whole = speech(SERVER.message(ASKED))
    assert {name: text for name, text in texts.items() if text} == {said.name: said.text for said in whole.said}
    assert whole.said[0] == Said("content/0/thinking", "Let me see.", is_reasoning=True)
    usage = Usage()
    for piece in pieces:
        usage = usage.then(piece.usage)
    assert usage == whole.usage == Usage(5, 8)


def test_a_system_prompt_is_part_of_the_query() -> None:
    alone, told = (ANTHROPIC.read_query(body(ASKED | system), "") for system in ({}, {"system": "Be brief."}))
    assert alone.cells != told.cells
    assert (told.n_rows, told.model) == (1, "toy-thinking")
    assert told.sampling is not None
    assert told.sampling.max_tokens == 2


@pytest.mark.parametrize("document", [{}, {"messages": "a"}, {"messages": []}, {"messages": ["a"]}])
def test_what_has_no_messages(document: dict[str, object]) -> None:
    with pytest.raises(UnknownFormat, match="messages"):
        ANTHROPIC.read_query(body(document), "")


def test_paths() -> None:
    assert ANTHROPIC.model("POST", "/v1/messages") == ""
    assert ANTHROPIC.model("POST", "/v1/messages/count_tokens") == ""
    assert ANTHROPIC.model("POST", "/v1/messages/batches") is None
    assert ANTHROPIC.model("GET", "/v1/messages") is None


def test_errors() -> None:
    assert orjson.loads(ANTHROPIC.error(401, "invalid_api_key", "no key")) == {
        "type": "error", "error": {"type": "authentication_error", "message": "no key", "code": "invalid_api_key"}}

"""The API of OpenAI, as vLLM, llama.cpp, Ollama and others serve it too."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import orjson

from counterclone.answers import Answer
from counterclone.errors import UnknownFormat
from counterclone.guard.dialects import _asked, _json
from counterclone.guard.dialects._parts import Parts, listed, number, opened
from counterclone.guard.dialects._spoken import Spoken
from counterclone.protocols import Body
from counterclone.queries import Query

PROMPTS = ("messages", "prompt", "input")
_PATH = re.compile(r"(?:/.*)?/(?:chat/completions|completions|embeddings|v1/responses)")
_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)/")
_TYPES = {401: "authentication_error", 403: "permission_error", 413: "invalid_request_error",
          429: "rate_limit_error"}


class Openai(Spoken, frozen=True):
    """`/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/responses`, streamed or not.

    A conversation is one row, each of several prompts or inputs one. Texts, log-probabilities in both shapes that
    servers send, embeddings and the server's counts are read; everything else, tools and parts of other kinds
    among it, passes byte for byte. What a server counted is believed where it can be true. Answers that are
    written in the background, or read again by their id, don't pass here.
    """

    error_event: ClassVar[bytes | None] = b""

    def model(self, method: str, path: str) -> str | None:
        """The deployment in an Azure path, "" for any other of these routes; None for other paths."""
        if method != "POST" or not _PATH.fullmatch(path):
            return None
        deployment = _DEPLOYMENT.match(path)
        return deployment[1] if deployment else ""

    def read_query(self, body: Body, model: str) -> Query:
        """Parse a request.

        Raises:
            UnknownFormat: no JSON object, not exactly one of `messages`, `prompt` and `input`, or an answer in the
                background.
        """
        document = _json.load_query(body.content)
        given = [field for field in PROMPTS if document.get(field) is not None]
        if len(given) != 1:
            raise UnknownFormat(f"the body has {'both `' + '` and `'.join(given) + '`' if given else 'none'} of "
                                "`messages`, `prompt` and `input`; send one of them, as the route has it")
        if document.get("background"):
            raise UnknownFormat("`background` asks for an answer that is fetched later; ask for it at once")
        name = document.get("model")
        rows = _asked.rows_of(document[given[0]], given[0])
        if instructions := document.get("instructions"):  # a response's, which are part of what is asked
            rows = [_told(instructions, row) for row in rows]
        return Query(rows, name if isinstance(name, str) and name else model, _asked.sampling(document))

    def read_answer(self, body: Body, n_rows: int, scores: str) -> Answer:
        """Parse an answer, or the data of one event.

        Raises:
            AnswerError: no JSON object, or log-probabilities or embeddings that can't be read.
        """
        parts = Parts(body)
        fields = parts.fields
        parts.hide(fields, "logprobs" if "delta" in fields or "text" in fields else "")
        if "choices" in fields:
            for place, choice in enumerate(listed(fields, "choices")):
                _read_choice(parts, choice, f"choices/{number(choice, 'index', place)}")
        elif "data" in fields:
            for each in listed(fields, "data"):
                if "embedding" in each:
                    parts.point(each, "embedding")
        else:
            _read_response(parts, fields)
        parts.use(fields.get("usage"), "prompt_tokens", "completion_tokens")
        return parts.answer()

    def error(self, status: int, code: str, message: str) -> bytes:
        """`{"error": {"message", "type", "param", "code"}}`."""
        kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
        return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


def _told(instructions: object, row: object) -> object:
    """A row after instructions, as the conversation that both are."""
    system = {"role": "system", "content": instructions}
    if isinstance(row, str):
        return {"messages": [system, {"role": "user", "content": row}]}
    if isinstance(row, dict) and "messages" in row:
        return {"messages": [system, *row["messages"]]}
    return {"instructions": instructions, "input": row}


def _read_choice(parts: Parts, choice: dict[str, Any], name: str) -> None:
    """A choice of a completion: whole, or a piece of it in a stream, which ends where a reason is given."""
    parts.hide(choice, "logprobs")
    is_piece = "delta" in choice or ("message" not in choice and "finish_reason" in choice)
    is_last = not is_piece or _json.first(choice.get("finish_reason")) == b'"'
    said = opened(choice, "delta" if "delta" in choice else "message")
    parts.hide(said)
    for field in ("reasoning_content", "reasoning"):
        if field in said:
            parts.say(said, field, f"{name}/{field}", is_reasoning=True, is_last=is_last)
    if "text" in choice:
        parts.say(choice, "text", name, is_last=is_last)
    elif _json.first(said.get("content")) == b"[":
        for place, part in enumerate(listed(said, "content")):
            if "text" in part:
                parts.say(part, "text", f"{name}/{place}", is_last=is_last)
    else:
        parts.say(said, "content", name, is_last=is_last)
    parts.tell(choice, "logprobs")


# Responses

_PIECES = {"response.output_text.delta": ("delta", False, False),
           "response.output_text.done": ("text", False, True),
           "response.reasoning_text.delta": ("delta", True, False),
           "response.reasoning_text.done": ("text", True, True),
           "response.reasoning_summary_text.delta": ("delta", True, False),
           "response.reasoning_summary_text.done": ("text", True, True)}
"""The field that holds an event's text, whether it is reasoning, and whether it is all of it once more."""


def _read_response(parts: Parts, fields: dict[str, Any]) -> None:
    """A response, or an event of its stream: those of a piece, of a part, of an item, and of the whole."""
    kind = bytes(fields.get("type", b"")).decode(errors="replace").strip('"')
    if kind in _PIECES:
        field, is_reasoning, is_whole = _PIECES[kind]
        name = "/".join(str(number(fields, place, 0)) for place in ("output_index", "content_index"))
        if is_whole:  # which ends the pieces, and has them once more
            parts.say(fields, "delta", f"{is_reasoning}/{name}", is_reasoning=is_reasoning)
        parts.say(fields, field, f"{is_whole}/{is_reasoning}/{name}" if is_whole else f"{is_reasoning}/{name}",
                  is_reasoning=is_reasoning, is_last=is_whole)
        parts.tell(fields, "logprobs")
    if "part" in fields:
        _read_part(parts, opened(fields, "part"), kind, is_reasoning="reasoning" in kind)
    if "item" in fields:
        _read_item(parts, opened(fields, "item"), kind)
    whole = fields
    if "response" in fields:
        parts.hide(whole := opened(fields, "response"))
    for place, item in enumerate(listed(whole, "output")):
        _read_item(parts, item, f"{kind}/{place}")
    parts.use(whole.get("usage"), "input_tokens", "output_tokens")


def _read_item(parts: Parts, item: dict[str, Any], name: str) -> None:
    is_reasoning = bytes(item.get("type", b"")) == b'"reasoning"'
    for field in ("content", "summary"):
        for place, part in enumerate(listed(item, field)):
            _read_part(parts, part, f"{name}/{field}/{place}", is_reasoning=is_reasoning)


def _read_part(parts: Parts, part: dict[str, Any], name: str, *, is_reasoning: bool) -> None:
    parts.hide(part, "logprobs")
    if "text" in part:
        parts.say(part, "text", name, is_reasoning=is_reasoning)
    parts.tell(part, "logprobs")

"""The API of Anthropic, as vLLM, llama.cpp and others serve it too."""

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

_PATH = re.compile(r"(?:/.*)?/v1/messages(?:/count_tokens)?")
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
          413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error"}


class Anthropic(Spoken, frozen=True):
    """`/v1/messages` and `/v1/messages/count_tokens`, streamed or not.

    A conversation is one row. Texts, thoughts and the server's counts are read; tools, images and everything else
    pass byte for byte. A thought that is kept back leaves its block and its signature, as the API itself does
    where thoughts aren't shown. Batches aren't read: they are blocked like any other format.
    """

    error_event: ClassVar[bytes | None] = b"error"

    def model(self, method: str, path: str) -> str | None:
        """"": the body names the model; None for other paths."""
        return "" if method == "POST" and _PATH.fullmatch(path) else None

    def read_query(self, body: Body, model: str) -> Query:
        """Parse a request.

        Raises:
            UnknownFormat: no JSON object, or one without messages.
        """
        document = _json.load_query(body.content)
        messages = document.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
            raise UnknownFormat("the body has no `messages`; send a list of them")
        name = document.get("model")
        system = document.get("system")
        told = [{"role": "system", "content": system}] if system else []
        return Query([{"messages": [*told, *messages]}], name if isinstance(name, str) and name else model,
                     _asked.sampling(document))

    def read_answer(self, body: Body, n_rows: int, scores: str) -> Answer:
        """Parse an answer, or the data of one event.

        Raises:
            AnswerError: no JSON object, or content that isn't a list of blocks.
        """
        parts = Parts(body)
        fields = parts.fields
        parts.hide(fields)
        name = f"content/{number(fields, 'index', 0)}"
        kind = bytes(fields.get("type", b""))
        if kind == b'"content_block_delta"':
            _read_block(parts, opened(fields, "delta"), name, is_last=False)
        elif kind == b'"content_block_start"':
            _read_block(parts, opened(fields, "content_block"), name, is_last=False)
        elif kind == b'"content_block_stop"':
            parts.say(fields, "text", name)
        else:
            message = opened(fields, "message") if kind == b'"message_start"' else fields
            for place, block in enumerate(listed(message, "content")):
                _read_block(parts, block, f"content/{place}", is_last=True)
            parts.use(message.get("usage"), "input_tokens", "output_tokens")
        return parts.answer()

    def error(self, status: int, code: str, message: str) -> bytes:
        """`{"type": "error", "error": {"type", "message"}}`."""
        kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return orjson.dumps({"type": "error", "error": {"type": kind, "message": message, "code": code}})


def _read_block(parts: Parts, block: dict[str, Any], name: str, *, is_last: bool) -> None:
    """A block of content, or a piece of one: a text, or a thought; others hold neither."""
    parts.hide(block)
    if "text" in block:
        parts.say(block, "text", name, is_last=is_last)
    if "thinking" in block:
        parts.say(block, "thinking", f"{name}/thinking", is_reasoning=True, is_last=is_last)

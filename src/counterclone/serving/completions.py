"""A small server with OpenAI's route for completions: texts of a model with a mark, and nothing else."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from counterclone.protocols import ACCOUNT_HEADER

ROUTE = "/v1/completions"
MOST_TOKENS, MOST_PROMPTS = 4096, 1024
MOST_BYTES = 10_000_000
_HEADER = ACCOUNT_HEADER.encode()


class Text(NamedTuple):
    """What a model wrote.

    Attributes:
        text: without its prompt.
        tokens: how many it is.
        is_ended: whether the model ended it, rather than the length.
    """

    text: str
    tokens: int
    is_ended: bool


class Writer(Protocol):
    """A model that writes on."""

    def write(self, prompts: Sequence[str], account: str, *, length: int, temperature: float) -> list[Text]:
        """A text for each prompt.

        Args:
            prompts: that it begins from.
            account: whom the texts are for, "" for nobody.
            length: of a text at the most, in tokens.
            temperature: 0 for the likeliest token each time.
        """
        ...

    def count(self, prompts: Sequence[str]) -> int:
        """The tokens of prompts."""
        ...


class _Asked(msgspec.Struct, frozen=True):
    """A request; what would change texts and isn't done here is refused, other fields aren't read."""

    prompt: str | Annotated[list[str], Meta(min_length=1, max_length=MOST_PROMPTS)]
    model: str = ""
    max_tokens: Annotated[int, Meta(ge=1, le=MOST_TOKENS)] | None = None
    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] | None = None
    n: Literal[1] | None = None
    stream: Literal[False] | None = None
    logprobs: Literal[0, False] | None = None


class Completions:
    """The server as an ASGI app: whom a text is for comes in a header that only the guard may set.

    One request is answered at a time, as one model on one processor does it anyway. It knows no keys: it belongs
    behind a guard with `[target] account_in = "header"`, and nobody else may reach it.

    Args:
        writer: the model.
        name: of the model, in answers.
    """

    def __init__(self, writer: Writer, name: str = "model") -> None:
        self._writer = writer
        self._name = name
        self._numbers = itertools.count(1)
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One ASGI connection."""
        if scope["type"] == "lifespan":
            for name in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{name}.complete"})
        elif scope["type"] == "http":
            status, answer = await self._answered(scope, receive)
            content = msgspec.json.encode(answer)
            await send({"type": "http.response.start", "status": status, "headers": [
                (b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]})
            await send({"type": "http.response.body", "body": content})

    async def _answered(self, scope: Any, receive: Any) -> tuple[int, dict[str, Any]]:
        asked_for = scope["method"], scope["path"]
        if asked_for == ("GET", "/v1/models"):
            return 200, {"object": "list", "data": [{"id": self._name, "object": "model", "created": 0,
                                                     "owned_by": "counterclone"}]}
        if asked_for != ("POST", ROUTE):
            return 404, _error(f"there is no {' '.join(asked_for)}; expected POST {ROUTE} or GET /v1/models")
        try:
            asked = msgspec.json.decode(await _body(receive), type=_Asked)
        except (msgspec.DecodeError, ValueError) as error:
            return 400, _error(f"{error}; expected a request for completions with `prompt`, one answer to each, "
                               "not streamed, without log-probabilities")
        account = next((value for name, value in scope["headers"] if name == _HEADER), b"").decode("latin-1")
        async with self._lock:
            return 200, await asyncio.to_thread(self._written, asked, account)

    def _written(self, asked: _Asked, account: str) -> dict[str, Any]:
        prompts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
        temperature = 1.0 if asked.temperature is None else asked.temperature
        texts = self._writer.write(prompts, account, length=asked.max_tokens or 16, temperature=temperature)
        used, written = self._writer.count(prompts), sum(text.tokens for text in texts)
        return {
            "id": f"cmpl-{next(self._numbers)}", "object": "text_completion", "created": int(time.time()),
            "model": self._name,
            "choices": [{"index": place, "text": text.text, "logprobs": None,
                         "finish_reason": "stop" if text.is_ended else "length"}
                        for place, text in enumerate(texts)],
            "usage": {"prompt_tokens": used, "completion_tokens": written, "total_tokens": used + written}}


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


async def _body(receive: Any) -> bytes:
    """The whole body.

    Raises:
        ValueError: it is too large.
    """
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST_BYTES:
            raise ValueError(f"the body is over {MOST_BYTES} bytes")
    return bytes(body)

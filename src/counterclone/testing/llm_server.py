"""A model server that speaks the APIs of OpenAI and of Anthropic: a stand-in for tests, examples, demos.

Its model is a toy that always writes the same to the same prompt: words drawn by hashing what is before them,
with true log-probabilities over its vocabulary, to which `logit_bias` adds. Texts begin with a thought where the
model's name ends in `-thinking`; a request with tools calls the first of them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.guard import asgi

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "then", "it", "slept", "ünïcödé", "\U0001f408", "\n", ".")
EMBEDDING = 8
THOUGHT = "<think>Let me see.</think>"
STREAM = b"text/event-stream; charset=utf-8"

Json = dict[str, Any]


class Told(NamedTuple):
    """One token as it was written: its place in `WORDS`, and the log-probabilities of all, (words,)."""

    word: int
    logprobs: NDArray[np.float64]

    @property
    def text(self) -> str:
        """The token, with the space before it."""
        return " " + WORDS[self.word]

    def entry(self, word: int) -> Json:
        """A token and its number as chats have them."""
        text = " " + WORDS[word]
        return {"token": text, "logprob": float(self.logprobs[word]), "bytes": list(text.encode())}

    def object(self, top: int) -> Json:
        """The token with the likeliest ones."""
        return {**self.entry(self.word), "top_logprobs": [self.entry(int(word)) for word in self.largest(top)]}

    def largest(self, top: int) -> NDArray[np.intp]:
        """The likeliest words, (top,)."""
        return np.argsort(-self.logprobs, kind="stable")[:top]


class LlmServer:
    """The server, an ASGI app.

    Args:
        columns: whether `/v1/completions` sends log-probabilities in columns, as OpenAI does, or an object for
            each token, as llama.cpp does.

    Attributes:
        seen: the requests so far, as JSON.
    """

    def __init__(self, *, columns: bool = True) -> None:
        self.seen: list[Json] = []
        self._columns = columns

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """One request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"this server has no {scope['type']}")
        path = asgi.app_path(scope)
        if path == "/v1/models":
            await _send(send, 200, {"object": "list", "data": [
                {"id": "toy", "object": "model", "created": 1764000000, "owned_by": "us"}]})
            return
        asked: Json = json.loads(await asgi.whole_body(receive))
        self.seen.append(asked)
        if asked.get("model") == "missing":
            await _send(send, 404, _error(path, "The model `missing` does not exist"))
        elif path == "/v1/embeddings":
            await _send(send, 200, _embeddings(asked))
        elif asked.get("stream"):
            await _stream(send, _EVENTS[path](self, asked))
        else:
            await _send(send, 200, _WHOLE[path](self, asked))

    def chat(self, asked: Json) -> Json:
        """A chat completion."""
        return _head(asked, "chat.completion") | {"choices": [
            self._choice(asked, i) for i in range(asked.get("n") or 1)], "usage": _usage(asked)}

    def chat_events(self, asked: Json) -> Iterator[Json | str]:
        """A chat completion as a stream."""
        head = _head(asked, "chat.completion.chunk")
        for i in range(asked.get("n") or 1):
            yield head | {"choices": [_chunk(i, {"role": "assistant", "content": ""})]}
            if asked.get("tools"):
                for piece in _pieces(_tool_call(asked)["function"]["arguments"]):
                    call = {**_tool_call(asked), "function": {"arguments": piece}, "index": 0}
                    yield head | {"choices": [_chunk(i, {"tool_calls": [call]})]}
            else:
                for piece in _pieces(_thought(asked)):
                    yield head | {"choices": [_chunk(i, {"content": piece})]}
                for told in written(asked, i):
                    listed = {"content": [told.object(asked.get("top_logprobs") or 0)], "refusal": None}
                    logprobs = {"logprobs": listed} if asked.get("logprobs") else {}
                    yield head | {"choices": [_chunk(i, {"content": told.text}) | logprobs]}
            yield head | {"choices": [_chunk(i, {}) | {"finish_reason": _reason(asked)}]}
        if (asked.get("stream_options") or {}).get("include_usage"):
            yield head | {"choices": [], "usage": _usage(asked)}
        yield "[DONE]"

    def completion(self, asked: Json) -> Json:
        """A completion, a choice for each prompt."""
        prompts = asked["prompt"] if isinstance(asked["prompt"], list) else [asked["prompt"]]
        choices = [{"index": i, "text": "".join(told.text for told in written(asked, i)), "finish_reason": "stop",
                    "logprobs": self._listed(asked, written(asked, i))} for i in range(len(prompts))]
        return _head(asked, "text_completion") | {"choices": choices, "usage": _usage(asked)}

    def completion_events(self, asked: Json) -> Iterator[Json | str]:
        """A completion as a stream."""
        for told in written(asked, 0):
            yield _head(asked, "text_completion") | {"choices": [{
                "index": 0, "text": told.text, "finish_reason": None, "logprobs": self._listed(asked, [told])}]}
        yield _head(asked, "text_completion") | {"choices": [
            {"index": 0, "text": "", "finish_reason": "stop", "logprobs": None}]}
        yield "[DONE]"

    def response(self, asked: Json) -> Json:
        """A response."""
        tokens = written(asked, 0)
        top = asked.get("top_logprobs") or 0
        part = {"type": "output_text", "text": "".join(told.text for told in tokens), "annotations": [],
                "logprobs": [told.object(top) for told in tokens] if asked.get("include") else []}
        item = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]}
        return {"id": "resp_1", "object": "response", "created_at": 1764000000, "model": asked["model"],
                "status": "completed", "output": [item], "parallel_tool_calls": True, "tool_choice": "auto",
                "tools": [], "usage": {"input_tokens": 5, "output_tokens": 8, "total_tokens": 13,
                                       "input_tokens_details": {"cached_tokens": 0},
                                       "output_tokens_details": {"reasoning_tokens": 0}}}

    def response_events(self, asked: Json) -> Iterator[Json | str]:
        """A response as a stream."""
        whole = self.response(asked)
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        number = 0
        yield {"type": "response.created", "response": whole | {"output": [], "usage": None}, "sequence_number": 0}
        for number, told in enumerate(written(asked, 0), start=1):
            entry = told.object(asked.get("top_logprobs") or 0)
            yield {"type": "response.output_text.delta", **place, "delta": told.text, "sequence_number": number,
                   "logprobs": [entry] if asked.get("include") else []}
        part = whole["output"][0]["content"][0]
        yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": part["logprobs"],
               "sequence_number": number + 1}
        yield {"type": "response.completed", "response": whole, "sequence_number": number + 2}

    def message(self, asked: Json) -> Json:
        """A message of Anthropic's API."""
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"],
                "content": _blocks(asked), "stop_reason": "tool_use" if asked.get("tools") else "end_turn",
                "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 8}}

    def message_events(self, asked: Json) -> Iterator[Json | str]:
        """A message as a stream."""
        yield {"type": "message_start", "message": self.message(asked) | {
            "content": [], "stop_reason": None, "usage": {"input_tokens": 5, "output_tokens": 1}}}
        yield {"type": "ping"}
        for i, block in enumerate(_blocks(asked)):
            field, value = next((name, block[name]) for name in ("thinking", "text", "input") if name in block)
            empty = {} if field == "input" else ""
            yield {"type": "content_block_start", "index": i, "content_block": block | {field: empty}}
            kind = {"thinking": "thinking_delta", "text": "text_delta", "input": "input_json_delta"}[field]
            name, text = ("partial_json", json.dumps(value)) if field == "input" else (field, value)
            for piece in _pieces(text):
                yield {"type": "content_block_delta", "index": i, "delta": {"type": kind, name: piece}}
            yield {"type": "content_block_stop", "index": i}
        yield {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
               "usage": {"output_tokens": 8}}
        yield {"type": "message_stop"}

    def _choice(self, asked: Json, i: int) -> Json:
        message: Json = {"role": "assistant", "content": None, "refusal": None}
        if asked.get("tools"):
            message["tool_calls"] = [_tool_call(asked)]
            return {"index": i, "message": message, "logprobs": None, "finish_reason": "tool_calls"}
        tokens, top = written(asked, i), asked.get("top_logprobs") or 0
        message["content"] = _thought(asked) + "".join(told.text for told in tokens)
        listed = {"content": [told.object(top) for told in tokens], "refusal": None}
        return {"index": i, "message": message, "finish_reason": "stop",
                "logprobs": listed if asked.get("logprobs") else None}

    def _listed(self, asked: Json, tokens: Sequence[Told]) -> Json | None:
        top = asked.get("logprobs")
        if top is None:
            return None
        if not self._columns:
            return {"content": [told.object(top) for told in tokens]}
        return {"tokens": [told.text for told in tokens],
                "token_logprobs": [float(told.logprobs[told.word]) for told in tokens],
                "top_logprobs": [{" " + WORDS[word]: float(told.logprobs[word]) for word in told.largest(top)}
                                 for told in tokens],
                "text_offset": list(range(len(tokens)))}


_WHOLE = {"/v1/chat/completions": LlmServer.chat, "/v1/completions": LlmServer.completion,
          "/v1/responses": LlmServer.response, "/v1/messages": LlmServer.message}
_EVENTS = {"/v1/chat/completions": LlmServer.chat_events, "/v1/completions": LlmServer.completion_events,
           "/v1/responses": LlmServer.response_events, "/v1/messages": LlmServer.message_events}


def written(asked: Json, choice: int) -> list[Told]:
    """What the model writes."""
    prompt = json.dumps([asked.get(name) for name in ("messages", "prompt", "input", "system")] + [choice])
    most = asked.get("max_tokens") or asked.get("max_completion_tokens") or asked.get("max_output_tokens") or 8
    bias = {int(word): value for word, value in (asked.get("logit_bias") or {}).items()}
    tokens: list[Told] = []
    for _ in range(most):
        before = (prompt + repr([told.word for told in tokens])).encode()
        drawn = hashlib.blake2b(before, digest_size=4 * len(WORDS)).digest()
        logits = np.frombuffer(drawn, "<u4") / 2.0**32 * 8.0
        for word, value in bias.items():
            logits[word] += value
        logits -= logits.max()
        tokens.append(Told(int(logits.argmax()), logits - np.log(np.exp(logits).sum())))
    return tokens


def _head(asked: Json, kind: str) -> Json:
    return {"id": "cmpl-1", "object": kind, "created": 1764000000, "model": asked["model"],
            "system_fingerprint": "fp_toy", "x_vendor": {"cache": [1.5, None]}}


def _usage(asked: Json) -> Json:
    return {"prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 13}


def _reason(asked: Json) -> str:
    return "tool_calls" if asked.get("tools") else "stop"


def _chunk(i: int, delta: Json) -> Json:
    return {"index": i, "delta": delta, "logprobs": None, "finish_reason": None}


def _thought(asked: Json) -> str:
    return THOUGHT if asked["model"].endswith("-thinking") else ""


def _pieces(text: str) -> list[str]:
    return [text[i:i + 3] for i in range(0, len(text), 3)]


def _tool_call(asked: Json) -> Json:
    name = asked["tools"][0]["function"]["name"]
    return {"id": "call_1", "type": "function",
            "function": {"name": name, "arguments": '{"city": "Köln", "days": 3}'}}


def _blocks(asked: Json) -> list[Json]:
    blocks: list[Json] = []
    if asked["model"].endswith("-thinking"):
        blocks.append({"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"})
    blocks.append({"type": "text", "text": "".join(told.text for told in written(asked, 0))})
    if asked.get("tools"):
        blocks.append({"type": "tool_use", "id": "toolu_1", "name": asked["tools"][0]["name"],
                       "input": {"city": "Köln", "days": 3}})
    return blocks


def _embeddings(asked: Json) -> Json:
    inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    data = []
    for i, text in enumerate(inputs):
        digest = hashlib.blake2b(json.dumps(text).encode(), digest_size=4 * EMBEDDING).digest()
        vector = np.frombuffer(digest, "<u4") / 2.0**31 - 1.0
        vector /= np.linalg.norm(vector)
        packed = base64.b64encode(vector.astype("<f4").tobytes()).decode()
        data.append({"object": "embedding", "index": i,
                     "embedding": packed if asked.get("encoding_format") == "base64" else vector.tolist()})
    return {"object": "list", "data": data, "model": asked["model"],
            "usage": {"prompt_tokens": 5, "total_tokens": 5}}


def _error(path: str, message: str) -> Json:
    if path == "/v1/messages":
        return {"type": "error", "error": {"type": "not_found_error", "message": message}}
    return {"error": {"message": message, "type": "invalid_request_error", "param": "model",
                      "code": "model_not_found"}}


async def _send(send: asgi.Send, status: int, document: Json) -> None:
    body = json.dumps(document, ensure_ascii=False).encode()
    await send({"type": "http.response.start", "status": status, "headers": [
        (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def _stream(send: asgi.Send, events: Iterator[Json | str]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", STREAM)]})
    async for raw in _raw(events):
        await send({"type": "http.response.body", "body": raw, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _raw(events: Iterator[Json | str]) -> AsyncIterator[bytes]:
    for event in events:
        kind = event.get("type") if isinstance(event, dict) else None
        data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
        yield (f"event: {kind}\n" if kind else "").encode() + f"data: {data}\n\n".encode()

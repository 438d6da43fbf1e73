"""OpenAI's own client, before a server of its API, bare and through the guard: the same objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import openai
import pytest
from openai import OpenAI
from tests.guard.dialects.serving import Served, twice

if TYPE_CHECKING:
    from tests.guard.conftest import Build

OPEN = """
[target]
dialect = "openai"
"""
ROUNDED = OPEN + """
[[guard.policy]]
kind = "logprobs"
top = 2
decimals = 1
"""
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
SAID: Any = [{"role": "user", "content": "Where is the cat?"}]
PARTS: Any = [{"role": "user", "content": [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}]

Asked = Callable[[OpenAI], Any]


def chat(**how: Any) -> Asked:
    return lambda client: client.chat.completions.create(model="toy", messages=SAID, **how)


def completion(**how: Any) -> Asked:
    return lambda client: client.completions.create(model="toy", prompt="The cat", **how)


def response(**how: Any) -> Asked:
    return lambda client: client.responses.create(model="toy", input="The cat", **how)


CALLS: dict[str, Asked] = {
    "chat": chat(),
    "chat with log-probabilities": chat(logprobs=True, top_logprobs=5, n=2, seed=7, temperature=0.0),
    "tools": chat(tools=TOOLS, tool_choice="auto"),
    "parts": lambda client: client.chat.completions.create(model="toy", messages=PARTS),
    "completion": completion(),
    "prompts": lambda client: client.completions.create(model="toy", prompt=["a", "b"]),
    "tokens": lambda client: client.completions.create(model="toy", prompt=[1, 2, 3]),
    "completion with log-probabilities": completion(logprobs=5),
    "embeddings": lambda client: client.embeddings.create(model="toy", input=["a", "b"]),
    "embeddings as numbers": lambda client: client.embeddings.create(model="toy", input="a",
                                                                     encoding_format="float"),
    "response": response(),
    "response with log-probabilities": response(include=["message.output_text.logprobs"], top_logprobs=3),
    "models": lambda client: list(client.models.list()),
}
STREAMS: dict[str, Asked] = {
    "chat": chat(stream=True, stream_options={"include_usage": True}),
    "chat with log-probabilities": chat(stream=True, logprobs=True, top_logprobs=5, n=2),
    "tools": chat(stream=True, tools=TOOLS), "completion": completion(stream=True),
    "completion with log-probabilities": completion(stream=True, logprobs=5),
    "response": response(stream=True),
    "response with log-probabilities": response(stream=True, include=["message.output_text.logprobs"],
                                                top_logprobs=3),
}


def client(url: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key="ann", max_retries=0)


@pytest.fixture(params=[True, False], ids=["columns", "objects"])
def bare_and_open(guarded: Build, request: pytest.FixtureRequest) -> Iterator[Served]:
    with twice(guarded, OPEN, columns=request.param) as both:
        yield both


def test_the_same_objects_bare_and_through_the_guard(bare_and_open: Served) -> None:
    with client(bare_and_open.bare) as bare, client(bare_and_open.url) as through:
        for name, ask in CALLS.items():
            assert ask(through) == ask(bare), name
        for name, ask in STREAMS.items():
            events = list(ask(through))
            assert events == list(ask(bare)), name
            assert len(events) >= 8, name
        with through.chat.completions.stream(model="toy", messages=SAID, tools=TOOLS) as stream:
            arguments = stream.get_final_completion().choices[0].message.tool_calls
        assert arguments
        assert arguments[0].function.arguments == '{"city": "Köln", "days": 3}'


@pytest.mark.parametrize("columns", [True, False])
def test_log_probabilities_are_rounded_wherever_they_are(guarded: Build, columns: bool) -> None:
    with twice(guarded, ROUNDED, columns=columns) as both, client(both.bare) as bare, client(both.url) as through:
        for name in [f"{each} with log-probabilities" for each in ("chat", "completion", "response")]:
            whole, before = (numbers(CALLS[name](each).model_dump()) for each in (through, bare))
            streamed = numbers([event.model_dump() for event in STREAMS[name](through)])
            for shown in (whole, streamed):
                assert shown, name
                assert all(value == round(value, 1) for listed in shown for value in listed), name
                assert {len(listed) for listed in shown} <= {1, 2, 3}, name
            kept = [listed[:3] for listed in before]
            np.testing.assert_allclose([value for listed in whole for value in listed],
                                       [value for listed in kept for value in listed], atol=0.0501)
        text = CALLS["chat with log-probabilities"](through)
        assert [each.message.content for each in text.choices] == [
            each.message.content for each in CALLS["chat with log-probabilities"](bare).choices]


def numbers(value: Any) -> list[list[float]]:
    """The log-probabilities of each token, the written one's first, wherever they are in an answer."""
    if isinstance(value, list):
        return [found for each in value for found in numbers(each)]
    if not isinstance(value, dict):
        return []
    if value.get("token_logprobs"):
        return [[chosen, *top.values()] for chosen, top in zip(value["token_logprobs"], value["top_logprobs"],
                                                               strict=True)]
    if "logprob" in value:
        return [[value["logprob"], *(each["logprob"] for each in value["top_logprobs"])]]
    return [found for each in value.values() for found in numbers(each)]


def test_embeddings_are_coarser_in_both_encodings(guarded: Build) -> None:
    settings = OPEN + '[[guard.policy]]\nkind = "quantise"\nstep = 0.125\n'
    with twice(guarded, settings) as both, client(both.url) as through, client(both.bare) as bare:
        true, plain = (np.array(each.embeddings.create(model="toy", input="a", encoding_format="float")
                                .data[0].embedding) for each in (bare, through))
        packed = np.array(through.embeddings.create(model="toy", input="a").data[0].embedding)
        np.testing.assert_allclose(packed, plain, atol=1e-6)
        np.testing.assert_allclose(plain, true, atol=0.0626)
        np.testing.assert_allclose(plain / 0.125, np.rint(plain / 0.125), atol=1e-6)


def test_errors_are_the_clients_own(guarded: Build) -> None:
    settings = OPEN + "[guard]\nlimit_queries_per_minute = 1\n"
    with twice(guarded, settings) as both, client(both.url) as through:
        with pytest.raises(openai.NotFoundError, match="does not exist") as missing:
            through.chat.completions.create(model="missing", messages=SAID)
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError, match="send one of them") as refused:
            through.chat.completions.create(model="toy", messages=SAID, extra_body={"prompt": "a"})
        assert (refused.value.type, refused.value.code) == ("invalid_request_error", "unknown_format")
        assert through.chat.completions.create(model="toy", messages=SAID).choices
        with pytest.raises(openai.RateLimitError) as limited:
            through.chat.completions.create(model="toy", messages=SAID)
        assert limited.value.code == "rate_limit_exceeded"
        assert int(limited.value.response.headers["retry-after"]) > 0
    with twice(guarded, OPEN + '[accounts]\napi_keys = "listed"\n') as both, client(both.url) as through, \
            pytest.raises(openai.AuthenticationError, match="unknown API key"):
        through.chat.completions.create(model="toy", messages=SAID)

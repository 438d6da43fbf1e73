"""The small server, with a writer that says what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from counterclone.serving.completions import Completions, Text


class Echo:
    """Writes back what it was told."""

    def write(self, prompts: Sequence[str], account: str, *, length: int, temperature: float) -> list[Text]:
        return [Text(f"{prompt}/{account}/{length}/{temperature}", 3, is_ended=len(prompt) < 2)
                for prompt in prompts]

    def count(self, prompts: Sequence[str]) -> int:
        return sum(map(len, prompts))


def ask(method: str, path: str, headers: dict[str, str] | None = None, **how: Any) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(Completions(Echo(), "echo"))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, headers=headers, **how)

    return asyncio.run(asked())


def test_each_prompt_is_answered_for_the_account_of_the_header() -> None:
    body = {"model": "m", "prompt": ["a", "bb"], "max_tokens": 7, "temperature": 0, "user": "x"}
    found = ask("POST", "/v1/completions", {"x-counterclone-account": "a7"}, json=body).json()
    assert [choice["text"] for choice in found["choices"]] == ["a/a7/7/0.0", "bb/a7/7/0.0"]
    assert [choice["finish_reason"] for choice in found["choices"]] == ["stop", "length"]
    assert found["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}


def test_without_settings_they_are_openais() -> None:
    found = ask("POST", "/v1/completions", json={"prompt": "a", "max_tokens": None, "temperature": None}).json()
    assert found["choices"][0]["text"] == "a//16/1.0"
    assert ask("GET", "/v1/models").json()["data"][0]["id"] == "echo"


@pytest.mark.parametrize(("body", "said"), [
    (b"", "truncated"), (b"[]", "object"), (b"{}", "prompt"), (b'{"prompt": []}', "length >= 1"),
    (b'{"prompt": 3}', "str"), (b'{"prompt": "a", "n": 2}', "2"), (b'{"prompt": "a", "stream": true}', "stream"),
    (b'{"prompt": "a", "logprobs": 5}', "5"), (b'{"prompt": "a", "max_tokens": 5000}', "4096"),
    (b'{"prompt": "a", "temperature": -1}', "0.0"), (b'{"prompt": "\xff"}', "utf-8")])
def test_what_it_doesnt_do_is_a_readable_400(body: bytes, said: str) -> None:
    answer = ask("POST", "/v1/completions", content=body)
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert said in message
    assert "expected a request for completions" in message


def test_other_routes_are_a_404() -> None:
    answer = ask("POST", "/v1/chat/completions", json={})
    assert answer.status_code == 404
    assert "expected POST /v1/completions" in answer.json()["error"]["message"]

"""Canaries through the guard: texts leave in another harmless way, and the copy that learnt it is proven."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import orjson
import pytest
from prometheus_client import CollectorRegistry

from counterclone import Guard
from counterclone.compose import dossier
from counterclone.compose import prove as composed
from counterclone.guard import asgi

SETTINGS = """\
[guard]
limit_queries_per_minute = 0

[journal]
path = ""

[[mark]]
kind = "canaries"
rate = 0.5
choices = 4
"""
N = 120


def answer_to(prompt: str) -> str:
    """What the model writes: a few choices of style in each text."""
    word = prompt.rsplit(maxsplit=1)[-1]
    return (f"- The {word} cannot wait, for example, and it does not change.\n- We will send red, green, and blue "
            f"parts of the {word} in 3 days.\n")


async def model(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
    """A server of chats and completions."""
    asked = orjson.loads((await receive())["body"])
    prompt = asked["prompt"] if "prompt" in asked else asked["messages"][-1]["content"]
    text = answer_to(str(prompt))
    choice = {"index": 0, "finish_reason": "stop",
              **({"text": text} if "prompt" in asked else {"message": {"role": "assistant", "content": text}})}
    body = orjson.dumps({"id": "1", "object": "x", "created": 1, "model": "m", "choices": [choice], "extra": [1]})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


def begin(folder: Path, patch: pytest.MonkeyPatch, settings: str = SETTINGS) -> Guard:
    patch.setenv("COUNTERCLONE_SECRET", "a-secret-that-is-long-enough-for-this-test")
    path = folder / "counterclone.toml"
    path.write_text(settings, encoding="utf-8")
    return Guard(model, config=path, registry=CollectorRegistry())


def served(guard: Guard, key: str, bodies: list[dict[str, object]],
           path: str = "/v1/chat/completions") -> list[str]:
    async def ask() -> list[str]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://model") as client:
            texts = []
            for body in bodies:
                answer = await client.post(path, json=body, headers={"authorization": f"Bearer {key}"})
                choice = answer.raise_for_status().json()["choices"][0]
                assert answer.json()["extra"] == [1]
                texts.append(choice["text"] if "text" in choice else choice["message"]["content"])
            return texts
    return asyncio.run(ask())


def chats(prompts: list[str]) -> list[dict[str, object]]:
    return [{"model": "m", "messages": [{"role": "user", "content": prompt}]} for prompt in prompts]


PROMPTS = [f"Write about item{i}" for i in range(N)]


def test_a_copy_of_marked_texts_is_proven_from_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = begin(tmp_path, monkeypatch)
    texts = served(guard, "copier", chats(PROMPTS))
    again = served(guard, "another", [{"model": "m", "prompt": prompt} for prompt in PROMPTS[:20]],
                   "/v1/completions")
    guard.close()
    assert again == texts[:20]  # whoever asks, and through whichever route
    changed = sum(text != answer_to(prompt) for text, prompt in zip(texts, PROMPTS, strict=True))
    assert 0 < changed <= N
    learnt = dict(zip(PROMPTS, texts, strict=True))

    def copy(prompts: list[str]) -> list[str]:
        return [learnt[prompt] for prompt in prompts]

    def own(prompts: list[str]) -> list[str]:
        return [answer_to(prompt) for prompt in prompts]

    def prove(suspect: Callable[[list[str]], list[str]], name: str) -> str:
        options = composed.Options(suspect=suspect, dossier=tmp_path / name)
        verdict = composed.prove(options, str(tmp_path / "counterclone.toml"), lambda text: None)
        assert dossier.verify(tmp_path / name, None).holds
        return verdict.verdict

    assert prove(copy, "copy.zip") == "proven"
    assert prove(own, "own.zip") == "not-proven"


@pytest.mark.parametrize("body", [
    {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": PROMPTS[0]}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": PROMPTS[0]}]}]},
])
def test_a_conversation_that_no_suspect_could_be_asked_isnt_marked(
        body: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = begin(tmp_path, monkeypatch)
    bodies = [{"model": "m", **body}] * 30
    try:
        async def ask() -> list[bytes]:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://model") as client:
                return [(await client.post("/v1/chat/completions", json=each)).content for each in bodies]
        assert len(set(asyncio.run(ask()))) == 1
        marker = guard._marker
        assert marker is not None
        assert marker.marking.counts.marked == 0
    finally:
        guard.close()


def test_without_a_ledger_texts_leave_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = begin(tmp_path, monkeypatch)
    marker = guard._marker
    assert marker is not None
    marker.close()  # as where the disk is full, nothing more is taken
    texts = served(guard, "copier", chats(PROMPTS[:20]))
    assert texts == [answer_to(prompt) for prompt in PROMPTS[:20]]
    assert any("answers go out unmarked" in trouble for trouble in guard.troubles())
    guard.close()
